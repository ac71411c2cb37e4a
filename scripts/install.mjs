#!/usr/bin/env node
/**
 * npm's `install` script: leaves an addon that loads. A binary that came with the package is taken where it works; else
 * LibTorch is found or set up and the addon is built.
 *
 * Environment: `DDPM_SKIP_BUILD=1` leaves all that to a later `npm rebuild ddpm-node`; `LIBTORCH`, `DDPM_VARIANT`,
 * `DDPM_CACHE` and `DDPM_LIBTORCH_URL` say which LibTorch and where.
 */

import { buildCommand, packageRoot } from './setup/package.mjs';
import { platformProblem } from './setup/platform.mjs';
import { run, SetupError, say } from './setup/report.mjs';

await run(async () => {
  const { env } = process;
  if (env.DDPM_SKIP_BUILD === '1') {
    say(`DDPM_SKIP_BUILD=1: the native addon was not set up; ${buildCommand} does it.`);
    return;
  }
  const problem = platformProblem({ ownLibtorch: Boolean(env.LIBTORCH) });
  if (problem !== undefined) throw new SetupError(problem);

  // Loaded only now, as an old Node may not understand these modules.
  const { loadProblem } = await import('./setup/probe.mjs');
  const { buildAddon } = await import('./setup/addon.mjs');
  // npm rebuild --build-from-source
  const fromSource = ['true', 'ddpm-node'].includes(env.npm_config_build_from_source ?? '');
  if (!fromSource && (await loadProblem(packageRoot)) === undefined) {
    say('the native addon is there and loads.');
    return;
  }
  await buildAddon();
});
