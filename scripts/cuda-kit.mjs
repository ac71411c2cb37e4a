// `npm run cuda:kit`: packs all that it takes to prove and measure this package on a machine with a CUDA card and without a
// network, as out/cuda-kit/: run.sh and one archive. Needs the built package, tar, xz and strip.
//
//   --out FOLDER   another folder
//   --fast         packs in seconds instead of minutes, and larger: for a try on the same machine
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { transformFileSync } from '@swc/core';
import { closureOf } from './cuda-kit/closure.mjs';

/** The most that the archive may take. */
const largestArchive = 50 * 2 ** 20;

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'out', 'cuda-kit') },
    fast: { type: 'boolean', default: false },
  },
});

if (process.platform !== 'linux' || process.arch !== 'x64') {
  throw new Error(`the kit is made on Linux on x64, where it is to run; this is ${process.platform}-${process.arch}`);
}

const work = mkdtempSync(join(tmpdir(), 'ddpm-cuda-kit-'));
try {
  const stage = join(work, 'package');
  mkdirSync(stage);
  copySources(stage);
  compileTests(stage);
  for (const name of closureOf(root, ['jest', ...Object.keys(manifest().dependencies)])) copyPackage(stage, name);
  await saveConfigurations(join(stage, 'bench', 'cuda', 'configs'));

  const node = join(work, 'node');
  cpSync(process.execPath, node, { dereference: true });
  execFileSync('strip', ['--strip-all', node]);
  // Its branches are brought into a form that packs better.
  compress(node, ['--x86', '--lzma2=preset=9e,dict=64MiB']);
  const files = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '-C', stage, '-cf', `${stage}.tar`, '.'];
  execFileSync('tar', files);
  compress(`${stage}.tar`, ['--lzma2=preset=9e,dict=64MiB']);

  rmSync(flags.out, { recursive: true, force: true });
  mkdirSync(flags.out, { recursive: true });
  const archive = join(flags.out, 'kit.tar');
  execFileSync('tar', ['-C', work, '-cf', archive, 'node.xz', 'package.tar.xz']);
  cpSync(join(root, 'scripts', 'cuda-kit', 'run.sh'), join(flags.out, 'run.sh'));
  const { size } = statSync(archive);
  console.log(`${relative(process.cwd(), flags.out)}: run.sh and kit.tar, ${(size / 2 ** 20).toFixed(1)} MiB`);
  if (size > largestArchive && !flags.fast) throw new Error(`kit.tar is larger than ${largestArchive / 2 ** 20} MiB`);
} finally {
  rmSync(work, { recursive: true, force: true });
}

function manifest() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

/**
 * What the addon is built from and what runs: sources, scripts, benchmarks, the compiled package, the tests' fixtures.
 *
 * @param {string} stage
 */
function copySources(stage) {
  const whole = ['native', 'scripts', 'bench', 'dist', 'CMakeLists.txt', 'package.json', 'index.js', 'LICENSE'];
  for (const name of whole) {
    cpSync(join(root, name), join(stage, name), {
      recursive: true,
      filter: (file) => !/\.d\.ts$|\/results$/.test(file),
    });
  }
  cpSync(join(root, 'test', 'fixtures'), join(stage, 'test', 'fixtures'), { recursive: true });
}

/**
 * The tests and what they import of lib/, as JavaScript at the same places, as Jest's own transform has them.
 *
 * @param {string} stage
 */
function compileTests(stage) {
  for (const folder of ['lib', 'test']) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      const to = join(stage, relative(root, file));
      if (!entry.isFile() || file.includes(join('test', 'fixtures'))) continue;
      mkdirSync(dirname(to), { recursive: true });
      if (!file.endsWith('.ts')) {
        cpSync(file, to);
        continue;
      }
      const { code } = transformFileSync(file, {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
        swcrc: false,
      });
      writeFileSync(to.replace(/\.ts$/, '.js'), code);
    }
  }
}

/**
 * @param {string} stage
 * @param {string} name relative to the root: `node_modules/jest`
 */
function copyPackage(stage, name) {
  const nested = join(root, name, 'node_modules');
  cpSync(join(root, name), join(stage, name), {
    recursive: true,
    // Nested packages have places of their own in the list.
    filter: (file) => file !== nested && !/\.(md|map|ts|mts|cts)$/.test(file),
  });
}

/**
 * The networks' configurations as models are saved with them: the peer begins before the addon is built.
 *
 * @param {string} folder
 */
async function saveConfigurations(folder) {
  /** @type {typeof import('../lib/index.js')} */
  const { Ddpm, presets } = createRequire(import.meta.url)(root);
  mkdirSync(folder);
  for (const name of /** @type {const} */ (['cifar10', 'tiny'])) {
    const saved = join(work, name);
    const model = new Ddpm({ ...presets[name], device: 'cpu' });
    await model.save(saved);
    await model.dispose();
    cpSync(join(saved, 'unet', 'config.json'), join(folder, `${name}.json`));
    rmSync(saved, { recursive: true });
  }
}

/**
 * @param {string} file is replaced by the one with `.xz` at its end
 * @param {string[]} filters
 */
function compress(file, filters) {
  execFileSync('xz', ['--threads=0', ...(flags.fast ? ['-0'] : filters), file]);
}
