#!/usr/bin/env node
/**
 * `npm run build`: sets up LibTorch where that is still to be done, and compiles the native addon.
 *
 *   --variant cpu|cuda   what to build for; before DDPM_VARIANT
 *   --debug              with debug information and without optimization
 *   --werror             warnings in our own sources are errors; DDPM_WERROR=1 says the same
 */

import { parseArgs } from 'node:util';
import { platformProblem } from './setup/platform.mjs';
import { reason, run, SetupError } from './setup/report.mjs';

await run(async () => {
  const problem = platformProblem({ ownLibtorch: Boolean(process.env.DDPM_LIBTORCH || process.env.LIBTORCH) });
  if (problem !== undefined) throw new SetupError(problem);
  const flags = readFlags();
  // Loaded only now, as an old Node may not understand these modules.
  const { buildAddon } = await import('./setup/addon.mjs');
  await buildAddon(flags);
});

function readFlags() {
  try {
    return parseArgs({
      options: { variant: { type: 'string' }, debug: { type: 'boolean' }, werror: { type: 'boolean' } },
    }).values;
  } catch (error) {
    throw new SetupError(`${reason(error)}. Known: --variant cpu|cuda, --debug, --werror`);
  }
}
