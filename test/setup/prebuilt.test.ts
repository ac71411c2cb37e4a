/** Addons for publication: what is known of them, and how the loader brings one and LibTorch together. */

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { prebuiltAddons } from '../../lib/loading/places';
import type { AddonRecord } from '../../lib/loading/record';
import { evaluate, root, runNode, temporaryFolder, writeFiles } from './helpers';

/** The addon of this checkout, and the LibTorch that it was built with. */
const addon: string = require('node-gyp-build').resolve(root);
const libtorch = realpathSync(join(root, 'build', 'libtorch'));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

interface Target {
  name: string;
  platform: string;
  arch: string;
  variant: 'cpu' | 'cuda';
}
const targets = () => evaluate<Target[]>('prebuild/targets.mjs', 'module.targets');

/** Linux tells what a process has loaded, and what a binary needs. */
const onLinux = process.platform === 'linux';

describe('what is wrong with an addon', () => {
  const complaints = (addon: object, baseline = 'undefined') =>
    evaluate<string[]>('prebuild/requirements.mjs', `module.complaints(${JSON.stringify(addon)}, ${baseline})`);
  const fine = { symbols: { GLIBC: '2.28', GLIBCXX: '3.4.9', CXXABI: '1.3' }, libraries: [], architectures: [] };

  test('is its size, symbols that are too new, and device code that it lacks', async () => {
    expect(await complaints({ variant: 'cpu', bytes: 14e6, requirements: fine })).toEqual([]);
    expect(await complaints({ variant: 'cpu', bytes: 15e6 })).toEqual([
      'it has 15000000 bytes, and 15000000 is the limit',
    ]);
    const newer = { ...fine, symbols: { GLIBC: '2.100', GLIBCXX: '3.4.26', CXXABI: '1.3.11' } };
    expect(await complaints({ variant: 'cpu', bytes: 1, requirements: newer })).toEqual([
      'it needs GLIBC_2.100, and 2.28 is allowed',
      'it needs GLIBCXX_3.4.26, and 3.4.25 is allowed',
    ]);
    expect(await complaints({ variant: 'cpu', bytes: 1, requirements: newer }, `{ GLIBC: '3.0' }`)).toEqual([]);
    const half = { ...fine, architectures: ['sm_80', 'sm_90'] };
    expect(await complaints({ variant: 'cuda', bytes: 1, requirements: half })).toEqual([
      'it holds no device code for compute_90',
    ]);
  });

  test('is told by the script, and fails it', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'ddpm.node');
    writeFileSync(file, Buffer.alloc(16e6));
    writeFileSync(join(folder, 'ddpm.json'), JSON.stringify({ platform: 'darwin', variant: 'cpu' }));
    const { code, stderr } = await runNode(['scripts/check-prebuild.mjs', file], {});
    expect(code).toBe(1);
    expect(stderr).toMatch(/ddpm\.node: it has 16000000 bytes, and 15000000 is the limit/);
  });
});

test('device code is told by its kind and architecture, over several containers', async () => {
  /** As nvcc lays them out: a header of 16 bytes, then entries with headers of 64. */
  const build = `
    const entry = (kind, architecture, size) => {
      const bytes = Buffer.alloc(64 + size);
      bytes.writeUInt16LE(kind, 0);
      bytes.writeUInt32LE(64, 4);
      bytes.writeBigUInt64LE(BigInt(size), 8);
      bytes.writeUInt32LE(architecture, 28);
      return bytes;
    };
    const container = (...entries) => {
      const body = Buffer.concat(entries);
      const header = Buffer.alloc(16);
      header.writeUInt32LE(0xba55ed50, 0);
      header.writeUInt16LE(16, 6);
      header.writeBigUInt64LE(BigInt(body.length), 8);
      return Buffer.concat([header, body]);
    };`;
  const bytes =
    'Buffer.concat([container(entry(2, 80, 8)), Buffer.alloc(12), container(entry(2, 90, 16), entry(1, 90, 4))])';
  const found = await evaluate('prebuild/fatbin.mjs', `{ ${build} return module.deviceArchitectures(${bytes}); }`);
  expect(found).toEqual(['compute_90', 'sm_80', 'sm_90']);
});

test('the loader looks for the packages that are published, each on its platform', async () => {
  for (const { name, platform, arch } of await targets()) {
    const here = platform === process.platform && arch === process.arch;
    const places = prebuiltAddons(temporaryFolder(), ['cpu', 'cuda']).map(({ place }) => place);
    expect(places.includes(`@ddpm-node/${name}`)).toBe(here);
  }
  const source = readFileSync(join(root, 'lib', 'loading', 'places.ts'), 'utf8');
  const literal = [...source.matchAll(/require\.resolve\('@ddpm-node\/(.+?)\/ddpm\.node'\)/g)].map(([, name]) => name);
  expect(literal.sort()).toEqual((await targets()).map(({ name }) => name).sort());
});

test('and in prebuilds/ where the build puts them, under names that node-gyp-build takes', async () => {
  const paths = await evaluate<string[]>('prebuild/targets.mjs', 'module.targets.map(module.prebuildPath)');
  const here = paths.filter((path) => path.startsWith(`prebuilds/${process.platform}-${process.arch}/`));
  const folder = temporaryFolder();
  const looked = prebuiltAddons(folder, ['cpu', 'cuda']).map(({ place }) => place);
  for (const path of here) expect(looked).toContain(join(folder, path));
  writeFiles(folder, Object.fromEntries(here.map((path) => [path, ''])));
  expect(basename(require('node-gyp-build').resolve(folder))).toMatch(/^ddpm-cpu\./);
});

describe('what is published', () => {
  test('names every platform package, of its own version, and nothing that only work on it needs', async () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const published = await evaluate<Record<string, Record<string, string>>>(
      'package/published-manifest.mjs',
      `module.publishedManifest(${JSON.stringify(manifest)})`,
    );
    const names = (await targets()).map(({ name }) => `@ddpm-node/${name}`);
    expect(published.optionalDependencies).toEqual(Object.fromEntries(names.map((name) => [name, version])));
    expect(published.devDependencies).toBeUndefined();
    expect(Object.keys(published.scripts)).toEqual(['install']);
    expect(published.dependencies).toEqual(manifest.dependencies);
    expect(manifest.optionalDependencies).toBeUndefined();
  });

  test('for a platform says which, and whose work is in it', async () => {
    const target = (await targets()).find(({ name }) => name === 'linux-x64-cuda13');
    const record = { variant: 'cuda', libtorch: { version: '2.14.1', build: 'cu130' }, symbols: { GLIBC: '2.28' } };
    const given = JSON.stringify({
      target,
      record,
      manifest: { version: '1.2.3', license: 'MIT' },
      license: 'the license',
    });
    const files = await evaluate<Record<string, string>>(
      'package/platform-files.mjs',
      `module.platformFiles(${given})`,
    );
    expect(JSON.parse(files['package.json'])).toMatchObject({
      name: '@ddpm-node/linux-x64-cuda13',
      version: '1.2.3',
      os: ['linux'],
      cpu: ['x64'],
      libc: ['glibc'],
    });
    expect(JSON.parse(files['ddpm.json'])).toEqual(record);
    expect(files.LICENSE).toBe('the license');
    expect(files['NOTICE.md']).toMatch(/PyTorch.*BSD 3-Clause[\s\S]*NVIDIA/);
  });
});

if (onLinux)
  describe('a prebuilt addon', () => {
    /** A package as it is installed, with the addon of this checkout for a prebuilt one. */
    async function installed(changes: Partial<AddonRecord> = {}): Promise<{ folder: string; file: string }> {
      const folder = join(temporaryFolder(), 'node_modules', 'ddpm-node');
      mkdirSync(folder, { recursive: true });
      for (const name of ['dist', 'scripts', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
      copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
      const { variant } = require(addon);
      const [file] = prebuiltAddons(folder, [variant]).map(({ place }) => place);
      mkdirSync(dirname(file), { recursive: true });
      copyFileSync(addon, file);
      const order = `module.loadOrder(${JSON.stringify(await linked())}, ${JSON.stringify(libtorch)}, ${JSON.stringify(folders())})`;
      const libraries = await evaluate<string[]>('prebuild/load-order.mjs', order);
      const release = require(addon).libtorchVersion;
      const abi = release.split('.').slice(0, 2).join('.');
      const record = { version, variant, libtorch: { version: release, build: '', abi, libraries }, ...changes };
      writeFileSync(file.replace(/\.node$/, '.json'), JSON.stringify(record));
      return { folder, file };
    }

    const linked = async () =>
      (
        await evaluate<{ libraries: string[] }>(
          'prebuild/requirements.mjs',
          `module.readRequirements(${JSON.stringify(addon)})`,
        )
      ).libraries;

    function folders(): string[] {
      const nvidia = join(libtorch, '..', 'nvidia');
      return [
        join(libtorch, 'lib'),
        ...(existsSync(nvidia) ? readdirSync(nvidia).map((name) => join(nvidia, name, 'lib')) : []),
      ];
    }

    /** Loads it in a process of its own; gives where LibTorch came from, or the error. */
    async function load(folder: string, env: NodeJS.ProcessEnv): Promise<{ files?: string[]; error?: string }> {
      const program = `
      const [, folder] = process.argv;
      try {
        require(folder + '/dist/load.js').loadAddon(folder);
        const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8').split('\\n');
        const files = [...new Set(maps.map((line) => line.slice(73)).filter((file) => /libtorch|libc10|gomp/.test(file)))];
        console.log(JSON.stringify({ files }));
      } catch (error) {
        console.log(JSON.stringify({ error: error.message }));
      }`;
      const { stdout, stderr } = await runNode(['-e', program, folder], { DDPM_CACHE: temporaryFolder(), ...env });
      if (stdout === '') throw new Error(stderr);
      return JSON.parse(stdout);
    }

    /** A cache in which this checkout's LibTorch counts as set up. */
    function filledCache(
      { variant, libtorchVersion }: { variant: string; libtorchVersion: string } = require(addon),
    ): string {
      const cache = temporaryFolder();
      const place = join(cache, 'ddpm-node', `libtorch-${libtorchVersion}-${variant}`);
      mkdirSync(place, { recursive: true });
      symlinkSync(libtorch, join(place, 'torch'));
      writeFileSync(join(place, 'complete.json'), '{}');
      return cache;
    }

    test("finds LibTorch in the user's cache, wherever it lies itself, and whatever LD_LIBRARY_PATH says", async () => {
      const { folder } = await installed();
      const decoys = writeFiles(temporaryFolder(), {
        'libtorch_cpu.so': 'no',
        'libc10.so': 'no',
        'libgomp.so.1': 'no',
      });
      const { files, error } = await load(folder, { DDPM_CACHE: filledCache(), LD_LIBRARY_PATH: decoys });
      expect(error).toBeUndefined();
      expect(files?.map((file) => dirname(file))).toEqual(files?.map(() => join(libtorch, 'lib')));
      expect(files?.filter((file) => /gomp/.test(file))).toHaveLength(1);
    });

    test('takes the one that DDPM_LIBTORCH names, and no other', async () => {
      const { folder } = await installed();
      expect((await load(folder, { DDPM_LIBTORCH: libtorch })).error).toBeUndefined();
      const { error } = await load(folder, { DDPM_LIBTORCH: '/nonexistent', DDPM_CACHE: filledCache() });
      expect(error).toContain('LibTorch in /nonexistent (DDPM_LIBTORCH): not there');
      expect(error).toMatch(
        /Name the folder of a LibTorch that fits in DDPM_LIBTORCH, or unset it and run `npx ddpm setup`\.$/,
      );
    });

    test('without one names the one command', async () => {
      const { folder } = await installed();
      const { error } = await load(folder, {});
      expect(error).toMatch(
        /^The native addon of ddpm-node is there, and the LibTorch that it needs is not set up\. Tried:/,
      );
      expect(error).toContain('Run `npx ddpm setup`:');
    });

    test('is not loaded with a LibTorch of another release, or that lacks a library, nor into another ddpm-node', async () => {
      const { abi, version: release, ...rest } = { ...require(addon), abi: '1.0', version: '1.0.0' };
      const old = await installed({ libtorch: { abi, version: release, build: '', libraries: [] } });
      expect((await load(old.folder, { DDPM_LIBTORCH: libtorch })).error).toContain(
        `is release ${rest.libtorchVersion}, and 1.0 is needed`,
      );

      const more = await installed();
      const record = JSON.parse(readFileSync(more.file.replace(/\.node$/, '.json'), 'utf8'));
      record.libtorch.libraries.push('lib/libmore.so');
      writeFileSync(more.file.replace(/\.node$/, '.json'), JSON.stringify(record));
      expect((await load(more.folder, { DDPM_LIBTORCH: libtorch })).error).toContain('has no lib/libmore.so');

      const foreign = await installed({ version: '0.0.1' });
      expect((await load(foreign.folder, { DDPM_LIBTORCH: libtorch })).error).toContain(
        `it belongs to ddpm-node 0.0.1, and this is ${version}`,
      );
    });

    test('is chosen by DDPM_VARIANT, which has two values', async () => {
      const { folder, file } = await installed();
      const other = require(addon).variant === 'cpu' ? 'cuda' : 'cpu';
      const { error } = await load(folder, { DDPM_VARIANT: other, DDPM_CACHE: filledCache() });
      expect(error).not.toContain(file);
      expect((await load(folder, { DDPM_VARIANT: 'gpu' })).error).toBe(
        "DDPM_VARIANT: expected 'cpu' or 'cuda', got 'gpu'",
      );
    });

    test('is set up by the command and by the install step, which link to a LibTorch that is named', async () => {
      const { folder } = await installed();
      const env = { PATH: '/nonexistent', DDPM_CACHE: temporaryFolder(), DDPM_VARIANT: require(addon).variant };
      // The scripts find the package by their own place, so they must lie in it.
      for (const name of ['dist', 'scripts']) {
        rmSync(join(folder, name));
        cpSync(join(root, name), join(folder, name), { recursive: true });
      }
      const done = await runNode(['dist/cli/main.js', 'setup', '--libtorch', libtorch], env, folder);
      expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('ready: the prebuilt addon loads') });
      expect(realpathSync(join(folder, 'build', 'libtorch'))).toBe(libtorch);
      const again = await runNode(['scripts/install.mjs'], env, folder);
      expect(again.stdout).toBe('ddpm-node: the native addon is there and loads.\n');
    });
  });

describe('npm run build', () => {
  test('does not make what is published, though npm runs prebuild before it', async () => {
    const folder = temporaryFolder();
    const script = join(root, 'scripts', 'prebuild', 'lifecycle.mjs');
    writeFiles(folder, {
      'package.json': JSON.stringify({ scripts: { prebuild: 'node which.mjs', build: 'node which.mjs' } }),
      'which.mjs': `import { requestedScript } from ${JSON.stringify(script)}; console.log('asked for', await requestedScript());`,
    });
    const npmProgram = await evaluate<string>('install-test/world.mjs', 'module.npmProgram()');
    const asked = async (...args: string[]) => {
      const { stdout } = await runNode([npmProgram, ...args], { PATH: process.env.PATH, HOME: folder }, folder);
      return [...stdout.matchAll(/^asked for (.*)$/gm)].map(([, name]) => name);
    };
    expect(await asked('run', 'build')).toEqual(['build', 'build']);
    expect(await asked('run', 'prebuild')).toEqual(['prebuild']);
  });
});
