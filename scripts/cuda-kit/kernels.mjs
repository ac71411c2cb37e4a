/** Where a pass's time goes on the card, kernel by kernel. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execute } from '../setup/command.mjs';

/** @typedef {{ name: string, seconds: number, calls: number }} Kernel */

/**
 * The kernels of forward or training passes that go on for a while.
 *
 * @param {import('./proofs.mjs').Context} context
 * @param {string} folder a saved model
 * @param {'forward' | 'training'} what
 * @param {string} precision
 * @param {number} batch
 * @returns {Promise<Kernel[]>} the last one, without a name, is the whole time
 */
export async function profile({ root, work, pytorch, logged }, folder, what, precision, batch) {
  const library = join(work, 'profile.so');
  const { include, lib, file } = cupti(pytorch);
  const source = join(root, 'bench', 'cuda', 'profile.cc');
  const flags = ['-std=c++17', '-O2', '-shared', '-fPIC', `-I${include}`, '-I/usr/local/cuda/include'];
  const compiled = await execute(
    'g++',
    [...flags, source, '-o', library, `-L${lib}`, `-l:${file}`, `-Wl,-rpath,${lib}`],
    {
      env: process.env,
    },
  );
  if (!compiled.ok) throw new Error(compiled.why);
  const written = join(work, `${what}.kernels`);
  const args = [join(root, 'bench', 'cuda', 'ours.mjs'), 'profile', folder, what, precision, String(batch), '32'];
  await logged(`kernels-${what}`, process.execPath, args, { CUDA_INJECTION64_PATH: library, DDPM_PROFILE: written });
  return readFileSync(written, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/**
 * NVIDIA's library for profilers, which PyTorch brings.
 *
 * @param {import('./environment.mjs').PyTorch | undefined} pytorch
 */
function cupti(pytorch) {
  const nvidia = join(dirname(pytorch?.folder ?? ''), 'nvidia');
  for (const name of readdirSync(nvidia)) {
    const lib = join(nvidia, name, 'lib');
    try {
      const file = readdirSync(lib).find((one) => /^libcupti\.so\.\d+$/.test(one));
      if (file !== undefined) return { include: join(nvidia, name, 'include'), lib, file };
    } catch {
      // a folder without libraries
    }
  }
  throw new Error(`there is no libcupti in ${nvidia}`);
}

/**
 * The ten slowest, with their share of the time in kernels.
 *
 * @param {Kernel[]} all
 */
export function kernelTable(all) {
  const whole = all.find(({ name }) => name === '')?.seconds ?? 0;
  const kernels = all.filter(({ name }) => name !== '');
  const busy = kernels.reduce((sum, { seconds }) => sum + seconds, 0);
  return {
    busyShare: busy / whole,
    slowest: kernels
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, 25)
      .map(({ name, seconds, calls }) => ({ name: name.slice(0, 200), share: seconds / busy, seconds, calls })),
  };
}
