/** What a folder of LibTorch holds. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {object} LibTorch
 * @property {string} root the folder with include/ and lib/
 * @property {string} version `2.13.0`
 * @property {boolean} cuda it can run on NVIDIA's GPUs
 */

/**
 * The file names of LibTorch's libraries.
 *
 * @param {string} name `torch_cpu`
 * @param {NodeJS.Platform} platform
 */
function libraryFile(name, platform) {
  if (platform === 'win32') return `${name}.dll`;
  return platform === 'darwin' ? `lib${name}.dylib` : `lib${name}.so`;
}

/** What the addon is linked with. */
const libraries = ['torch', 'torch_cpu', 'c10'];
const cudaLibraries = ['torch_cuda', 'c10_cuda'];

/**
 * The files that an addon for the CPU is linked with.
 *
 * @param {NodeJS.Platform} platform
 */
export function libraryFiles(platform) {
  return [...(platform === 'darwin' ? ['omp'] : []), ...libraries].map((name) => libraryFile(name, platform));
}

/** Where releases state their number; the second is of releases before 2.9. */
const versionHeaders = ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h'];

/**
 * Looks at a folder that should be LibTorch: the official archive's `libtorch`, or `torch` in Python's site-packages.
 *
 * @param {string} root
 * @param {NodeJS.Platform} platform
 * @param {string[]} [more] other files that must be there, relative to `root`
 * @returns {{ libtorch: LibTorch, missing: string[] }} `missing`: files that are needed and that the folder lacks
 */
export function inspect(root, platform, more = []) {
  const version = readVersion(root);
  const has = (/** @type {string} */ file) => existsSync(join(root, file));
  const library = (/** @type {string} */ name) => `lib/${libraryFile(name, platform)}`;
  const wanted = [
    'include/ATen/ATen.h',
    'include/torch/csrc/api/include/torch/torch.h',
    ...libraries.map(library),
    ...more,
  ];
  const missing = wanted.filter((file) => !has(file));
  if (version === undefined) missing.push(versionHeaders[0]);
  return { libtorch: { root, version: version ?? 'unknown', cuda: cudaLibraries.map(library).every(has) }, missing };
}

/** @param {string} root */
function readVersion(root) {
  for (const header of versionHeaders) {
    const file = join(root, header);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => new RegExp(`^#define TORCH_VERSION_${part} (\\d+)`, 'm').exec(text)?.[1],
    );
    if (parts.every((part) => part !== undefined)) return parts.join('.');
  }
  return undefined;
}
