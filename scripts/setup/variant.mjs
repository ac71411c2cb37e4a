/** Whether to build or set up for the CPU alone, or for CUDA too. */

import { existsSync } from 'node:fs';
import { execute, which } from './command.mjs';
import { SetupError } from './report.mjs';

/** @typedef {'cpu' | 'cuda'} Variant */

const variants = ['cpu', 'cuda'];

/** The driver's library, where Linux distributions and WSL keep it. */
const driverFiles = [
  '/proc/driver/nvidia/version',
  '/usr/lib/x86_64-linux-gnu/libcuda.so.1',
  '/usr/lib/aarch64-linux-gnu/libcuda.so.1',
  '/usr/lib64/libcuda.so.1',
  '/usr/lib/wsl/lib/libcuda.so.1',
];

/**
 * The variant that was asked for, or what suits this machine.
 *
 * @param {object} options
 * @param {string} [options.flag] value of `--variant`
 * @param {NodeJS.ProcessEnv} options.env `DDPM_VARIANT` is read
 * @param {boolean} [options.compiling] it is for a build, which needs nvcc too
 * @param {(file: string) => boolean} [options.exists]
 * @returns {Promise<{ variant: Variant, asked: boolean }>} `asked`: somebody chose it
 * @throws {SetupError} for any other value
 */
export async function chooseVariant({ flag, env, compiling = true, exists = existsSync }) {
  const source = flag === undefined ? 'DDPM_VARIANT' : '--variant';
  const value = flag ?? env.DDPM_VARIANT;
  if (value === undefined || (value === '' && flag === undefined)) {
    // Without nvcc the kernels cannot be compiled, and the CPU serves too.
    const suits = (!compiling || hasNvcc(env)) && (await hasNvidiaDriver(env, exists));
    return { variant: suits ? 'cuda' : 'cpu', asked: false };
  }
  if (!variants.includes(value)) {
    throw new SetupError(`${source}: expected ${variants.map((name) => `'${name}'`).join(' or ')}, got '${value}'`);
  }
  return { variant: /** @type {Variant} */ (value), asked: true };
}

/**
 * Whether CMake will find NVIDIA's compiler.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function hasNvcc(env) {
  return which(env.CUDACXX || 'nvcc', env) !== undefined;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {(file: string) => boolean} exists
 */
async function hasNvidiaDriver(env, exists) {
  if (driverFiles.some(exists)) return true;
  const listed = await execute('nvidia-smi', ['-L'], { env, timeout: 30_000 });
  return listed.ok && /^GPU \d+:/m.test(listed.stdout);
}
