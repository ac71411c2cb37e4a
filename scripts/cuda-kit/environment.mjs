/** What a machine has that the kit needs: a card, PyTorch, CUDA's compiler. */

import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, dirname } from 'node:path';
import { execute, which } from '../setup/command.mjs';

/** The oldest release of LibTorch that the sources compile against. */
const oldest = [2, 11];

/**
 * @typedef {object} PyTorch
 * @property {string} python
 * @property {string} version
 * @property {string | null} cuda the CUDA release that it is for; null for none
 * @property {string} folder with include/ and lib/
 */

const question = `
import json, os, torch
print(json.dumps([torch.__version__, torch.version.cuda, os.path.dirname(torch.__file__)]))
`;

/**
 * The first Python with a PyTorch that serves.
 *
 * @param {string | undefined} asked the only one to try
 * @returns {Promise<{ pytorch?: PyTorch, why: string[] }>} `why`: what is wrong with those tried before it
 */
export async function findPyTorch(asked) {
  /** @type {string[]} */
  const why = [];
  for (const python of asked ? [asked] : [process.env.PYTHON, 'python3', 'python']) {
    if (!python) continue;
    const file = which(python, process.env);
    if (file === undefined) {
      why.push(`${python}: not found`);
      continue;
    }
    const told = await execute(file, ['-c', question], { env: process.env, timeout: 300_000 });
    if (!told.ok) {
      why.push(`${python}: ${told.why}`);
      continue;
    }
    const [version, cuda, folder] = JSON.parse(told.stdout.trim().split('\n').at(-1) ?? '');
    const [major, minor] = version.split('.').map(Number);
    if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
      why.push(`${python}: its PyTorch is ${version}, and ${oldest.join('.')} is the oldest that serves`);
      continue;
    }
    return { pytorch: { python: file, version, cuda, folder }, why };
  }
  return { why };
}

/**
 * Puts Python's own programs (pip installs CMake and Ninja there) and CUDA's usual folder on the search path.
 *
 * @param {PyTorch | undefined} pytorch
 */
export function extendPath(pytorch) {
  const folders = [...(pytorch ? [dirname(pytorch.python)] : []), '/usr/local/cuda/bin'].filter((folder) =>
    existsSync(folder),
  );
  process.env.PATH = [process.env.PATH, ...folders].filter(Boolean).join(delimiter);
}

/**
 * The card as the driver tells of it; undefined where there is none.
 *
 * @returns {Promise<{ name: string, driver: string, memory: string, architecture: string } | undefined>}
 */
export async function findCard() {
  const query = '--query-gpu=name,driver_version,memory.total,compute_cap';
  const told = await execute('nvidia-smi', [query, '--format=csv,noheader'], { env: process.env, timeout: 60_000 });
  if (!told.ok) return undefined;
  const [name, driver, memory, capability] = told.stdout.split('\n')[0].split(', ');
  return { name, driver, memory, architecture: capability.replace('.', '') };
}

/** The processor's name, its cores, and what of matrix instructions it has. */
export function processor() {
  const flags = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const features = ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'].filter((name) => flags.includes(` ${name}`));
  return { model: cpus()[0]?.model ?? 'unknown', cores: cpus().length, features };
}
