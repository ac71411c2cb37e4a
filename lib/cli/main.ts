#!/usr/bin/env node
/** The command `ddpm`. */

import { join } from 'node:path';
import { Command } from 'commander';
import { setup } from './setup';

// No module of a command may load the addon before the command runs: `setup` is there to mend one that does not load.
const { version } = require('../../package.json') as { version: string };

const program = new Command('ddpm')
  .description('Train denoising diffusion models and draw from them')
  .version(version)
  .addCommand(setup());

if (process.argv.length === 2) {
  showState();
} else {
  program.parseAsync().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
}

/** Without a command: what commands there are, and whether all is set up for them or what to run first. */
function showState(): void {
  program.outputHelp();
  const { loadAddon } = require('../load') as typeof import('../load');
  try {
    loadAddon(join(__dirname, '..', '..'));
    console.log('\nThe native addon is there and loads.');
  } catch (error) {
    console.error(`\n${(error as Error).message}`);
    process.exitCode = 1;
  }
}
