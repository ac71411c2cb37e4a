#!/usr/bin/env node
/**
 * npm's `install` script: leaves an addon that loads. For a prebuilt one LibTorch is found or set up; where none serves,
 * the addon is built.
 *
 * Environment: `DDPM_SKIP_BUILD=1` leaves all that to a later `npx ddpm setup`; setup/set-up.mjs names the others.
 */

import { setupCommand } from './setup/package.mjs';
import { platformProblem } from './setup/platform.mjs';
import { run, SetupError, say } from './setup/report.mjs';

await run(async () => {
  const { env } = process;
  if (env.DDPM_SKIP_BUILD === '1') {
    say(`DDPM_SKIP_BUILD=1: the native addon was not set up; ${setupCommand} does it.`);
    return;
  }
  const problem = platformProblem({ ownLibtorch: Boolean(env.DDPM_LIBTORCH || env.LIBTORCH) });
  if (problem !== undefined) throw new SetupError(problem);

  // Loaded only now, as an old Node may not understand these modules.
  const { setUp } = await import('./setup/set-up.mjs');
  // npm rebuild --build-from-source
  const fromSource = ['true', 'ddpm-node'].includes(env.npm_config_build_from_source ?? '');
  await setUp({ fromSource, env });
});
