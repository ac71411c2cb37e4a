/** What the built addon brings into a process. */

import { join } from 'node:path';
import { root, runNode, temporaryFolder, writeFiles } from './helpers';

/** Linux tells what a process has loaded, and lets the environment name folders of libraries. */
const onLinux = process.platform === 'linux';

async function loadedLibraries(env: NodeJS.ProcessEnv): Promise<string[]> {
  const program = `
    require('node-gyp-build')(${JSON.stringify(root)});
    const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
    const files = maps.split('\\n').map((line) => line.replace(/^(\\S+\\s+){5}/, ''));
    console.log(JSON.stringify([...new Set(files.filter((file) => file.startsWith('/')))]));
  `;
  const { code, stdout, stderr } = await runNode(['-e', program], env);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

if (onLinux) {
  test('one OpenMP runtime is loaded, the one that LibTorch brings', async () => {
    const files = await loadedLibraries({});
    const openmp = files.filter((file) => /\/lib(gomp|iomp5|omp)[-.]/.test(file));
    const [libtorch] = files.filter((file) => file.endsWith('/libtorch_cpu.so'));
    expect(openmp).toHaveLength(1);
    expect(join(openmp[0], '..')).toBe(join(libtorch, '..'));
  });

  test('LibTorch is the one that was built with, whatever LD_LIBRARY_PATH says', async () => {
    const decoys = ['libtorch.so', 'libtorch_cpu.so', 'libc10.so', 'libgomp.so.1'];
    const folder = writeFiles(temporaryFolder(), Object.fromEntries(decoys.map((name) => [name, 'no library'])));
    const files = await loadedLibraries({ LD_LIBRARY_PATH: folder });
    expect(files.filter((file) => file.startsWith(folder))).toEqual([]);
  });
}
