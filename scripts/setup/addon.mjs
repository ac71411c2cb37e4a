/** Setting up LibTorch and building the addon: what `npm install` and `npm run build` have in common. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { locateLibtorch } from '../libtorch/locate.mjs';
import { compile } from './compile.mjs';
import { isInstalled, packageRoot } from './package.mjs';
import { loadProblem } from './probe.mjs';
import { SetupError, say } from './report.mjs';
import { requireBuildTools } from './tools.mjs';
import { chooseVariant } from './variant.mjs';

/**
 * @param {object} [options]
 * @param {string} [options.variant] 'cpu' or 'cuda'; by default what DDPM_VARIANT says or the machine suits
 * @param {boolean} [options.debug]
 * @param {boolean} [options.werror] warnings in our own sources are errors; DDPM_WERROR=1 asks for that too
 * @param {boolean} [options.sanitize] beside the addon that is loaded: one with sanitizers, which only a process that
 *   has their libraries already can load
 * @returns {Promise<string>} the addon's file
 * @throws {SetupError}
 */
export async function buildAddon({ variant: flag, debug = false, werror = false, sanitize = false } = {}) {
  const { env } = process;
  const { variant, asked } = await chooseVariant({ flag, env });
  await requireBuildTools(env, variant);
  const libtorch = await locateLibtorch({ variant, asked, env, say });
  const file = await compile({
    root: packageRoot,
    libtorch,
    // The machine suits CUDA, but the LibTorch that DDPM_LIBTORCH names may not.
    cuda: variant === 'cuda' && libtorch.cuda,
    debug,
    sanitize,
    warningsAsErrors: werror || env.DDPM_WERROR === '1',
    env,
  });
  const problem = sanitize ? undefined : await loadProblem(packageRoot);
  if (problem !== undefined) throw new SetupError(`${file} was built, but does not load: ${problem}`);
  // Hundreds of megabytes that only another build from a checkout could use.
  if (isInstalled) await rm(join(packageRoot, 'build', 'cmake'), { recursive: true, force: true });
  say(`built ${file}`);
  return file;
}
