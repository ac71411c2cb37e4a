#!/usr/bin/env node
/** The command `ddpm`. */

import { Command } from 'commander';
import { setup } from './setup';

// No module of a command may load the addon before the command runs: `setup` is there to mend one that does not load.
const { version } = require('../../package.json') as { version: string };

const program = new Command('ddpm')
  .description('Train denoising diffusion models and draw from them')
  .version(version)
  .addCommand(setup());

program.parseAsync().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
