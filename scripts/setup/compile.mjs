/** Compiling the addon with CMake, through cmake-js. */

import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { which } from './command.mjs';
import { SetupError } from './report.mjs';

/** Bytes that one compiler takes at its peak on a file that includes LibTorch's headers. */
const memoryPerJob = 1.5e9;

/**
 * @param {object} options
 * @param {string} options.root the package's folder
 * @param {string} [options.build] where everything goes; by default build/ of the package, whose addon is the one loaded
 * @param {import('../libtorch/inspect.mjs').LibTorch} options.libtorch
 * @param {boolean} options.cuda
 * @param {boolean} options.debug
 * @param {boolean} [options.sanitize] with address and undefined-behaviour sanitizers, in a folder of its own
 * @param {boolean} options.warningsAsErrors
 * @param {NodeJS.ProcessEnv} options.env
 * @returns {Promise<string>} the addon's file
 */
export async function compile({
  root,
  build = join(root, 'build'),
  libtorch,
  cuda,
  debug,
  sanitize = false,
  warningsAsErrors,
  env,
}) {
  const config = sanitize ? 'Sanitize' : debug ? 'Debug' : 'Release';
  // CMake has a folder of its own in build/, where node-gyp puts its files too.
  const work = join(build, 'cmake', config);
  const output = join(build, config);
  const definitions = {
    DDPM_LIBTORCH: libtorch.root,
    DDPM_OUTPUT: output,
    DDPM_CUDA: cuda ? 'ON' : 'OFF',
    DDPM_WERROR: warningsAsErrors ? 'ON' : 'OFF',
    DDPM_SANITIZE: sanitize ? 'ON' : 'OFF',
  };
  await linkLibtorch(build, libtorch.root);
  await startAfreshIfChanged(work, { root, libtorch, compiler: env.CXX, ninja: which('ninja', env) });
  // The build made last is the one that is loaded; one with sanitizers only where DDPM_ADDON names it.
  if (!sanitize) await rm(join(build, debug ? 'Release' : 'Debug'), { recursive: true, force: true });

  const { BuildSystem } = createRequire(import.meta.url)('cmake-js');
  const system = new BuildSystem({
    directory: root,
    out: work,
    debug,
    parallel: env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(jobs()),
    cMakeOptions: definitions,
  });
  try {
    await system.configure();
    await system.build();
  } catch (cause) {
    throw new SetupError(`the native addon could not be compiled; the lines above say why.`, { cause });
  }
  return join(output, 'ddpm.node');
}

/**
 * Makes build/libtorch lead to LibTorch: the addon finds it there, relative to itself.
 *
 * @param {string} build
 * @param {string} root
 */
async function linkLibtorch(build, root) {
  const link = join(build, 'libtorch');
  await mkdir(build, { recursive: true });
  await rm(link, { force: true, recursive: true });
  await symlink(root, link, 'junction');
}

/**
 * CMake keeps what it found at the first run. Where that may differ now (another LibTorch, a moved folder), it starts
 * from nothing.
 *
 * @param {string} work
 * @param {object} inputs
 */
async function startAfreshIfChanged(work, inputs) {
  const stamp = join(work, 'inputs.json');
  const text = JSON.stringify(inputs, null, 2);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === text) return;
  await rm(work, { recursive: true, force: true });
  await mkdir(dirname(stamp), { recursive: true });
  await writeFile(stamp, text);
}

/** As many compilers at once as there are processors, and as memory allows. */
function jobs() {
  const memory = Math.min(totalmem(), process.constrainedMemory?.() || Number.POSITIVE_INFINITY);
  return Math.max(1, Math.min(availableParallelism(), Math.floor(memory / memoryPerJob)));
}
