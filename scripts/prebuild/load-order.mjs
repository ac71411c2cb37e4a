import { existsSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

/** LibTorch's libraries, each after the ones that it needs itself. */
const order = ['gomp', 'omp', 'c10', 'torch_cpu', 'cudart', 'c10_cuda', 'torch_cuda', 'torch'];

/**
 * Those of an addon's libraries that come with LibTorch, in an order in which each can be loaded by its path alone.
 *
 * @param {string[]} libraries file names that the addon is linked with: `libtorch_cpu.so`
 * @param {string} root LibTorch's folder
 * @param {string[]} folders where they may be: LibTorch's lib/, and NVIDIA's
 * @returns {string[]} relative to `root`, with `/`: `lib/libtorch_cpu.so`
 */
export function loadOrder(libraries, root, folders) {
  const found = libraries.flatMap((name) => {
    const file = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
    return file === undefined ? [] : [relative(root, file).split(sep).join('/')];
  });
  return found.sort((a, b) => rank(a) - rank(b));
}

/** @param {string} path */
function rank(path) {
  const name = /([^/]+?)(\.so|\.dylib|\.dll)/.exec(path)?.[1].replace(/^lib/, '') ?? '';
  const place = order.indexOf(name);
  if (place < 0) throw new Error(`${path}: where this library goes in the order of loading is not known`);
  return place;
}
