/** Leaving an addon that loads: what `npm install` and `npx ddpm setup` have in common. */

import { buildAddon } from './addon.mjs';
import { isInstalled, packageRoot } from './package.mjs';
import { setUpPrebuilt } from './prebuilt.mjs';
import { loadProblem } from './probe.mjs';
import { say } from './report.mjs';

/**
 * Takes an addon that loads. Else LibTorch is found or set up for a prebuilt one; where there is none, or it does not load
 * here, the addon is built from source.
 *
 * @param {object} options
 * @param {string} [options.variant] 'cpu' or 'cuda': set up for this one, even if another loads
 * @param {boolean} [options.fromSource] build, whatever is there
 * @param {NodeJS.ProcessEnv} options.env `DDPM_LIBTORCH`, `LIBTORCH`, `DDPM_LIBTORCH_URL`, `DDPM_LIBTORCH_SHA256`,
 *   `DDPM_CACHE`, `DDPM_VARIANT`
 * @throws {import('./report.mjs').SetupError}
 */
export async function setUp({ variant, fromSource = false, env }) {
  if (!fromSource) {
    const chosen = variant !== undefined || (isInstalled && env.DDPM_LIBTORCH);
    if (!chosen && (await loadProblem(packageRoot, env)) === undefined) {
      say('the native addon is there and loads.');
      return;
    }
    if (await setUpPrebuilt({ variant, env })) {
      const problem = await loadProblem(packageRoot, variant ? { ...env, DDPM_VARIANT: variant } : env);
      if (problem === undefined) {
        say('ready: the prebuilt addon loads.');
        return;
      }
      say(`the prebuilt addon does not load here, so it is built from source: ${problem}`);
    }
  }
  await buildAddon({ variant });
}
