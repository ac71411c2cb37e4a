/** What npm packs: all that an install and a build need, and nothing else. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';

const root = join(__dirname, '..', '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

interface Packed {
  files: { path: string; size: number }[];
  /** Bytes of the archive. */
  size: number;
  unpackedSize: number;
}

// Without scripts: they would build dist/ anew under the other tests.
const [packed]: Packed[] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  }),
);
const paths = packed.files.map(({ path }) => path);
const below = (folder: string) => paths.filter((path) => path.startsWith(`${folder}/`));

/** The files of a folder of the repository, with `/`. */
function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'));
}

test('nothing but what is meant', () => {
  const top = new Set(paths.map((path) => path.split('/')[0]));
  expect([...top].sort()).toEqual([
    'CHANGELOG.md',
    'CMakeLists.txt',
    'LICENSE',
    'README.md',
    'THIRD_PARTY_NOTICES.md',
    'binding.gyp',
    'dist',
    'docs',
    'index.js',
    'native',
    'package.json',
    'scripts',
  ]);
  const kinds: Record<string, RegExp> = {
    dist: /\.(js|d\.ts)$/,
    docs: /\.md$/,
    native: /\.(cc|h|cu|cuh)$/,
    scripts: /\.(mjs|cjs)$/,
  };
  for (const [folder, kind] of Object.entries(kinds)) {
    expect(below(folder).filter((path) => !kind.test(path))).toEqual([]);
  }
  expect(
    paths.filter((path) => /(^|[/.])(test|tests|fixtures|bench|coverage|build|node_modules)[/.]/i.test(path)),
  ).toEqual(['scripts/build.mjs']);
});

test('dist is lib, compiled: no file less, and none that a renamed one has left', () => {
  const compiled = filesIn('lib').flatMap((path) => {
    const stem = path.replace(/^lib\//, 'dist/').replace(/\.ts$/, '');
    return [`${stem}.d.ts`, `${stem}.js`];
  });
  expect(below('dist').sort()).toEqual(compiled.sort());
});

test('all sources of the addon', () => {
  expect(below('native').sort()).toEqual(filesIn('native').sort());
});

test('everything that the package names or imports is in it, or a dependency', () => {
  const named = [manifest.main, manifest.types, ...Object.values(manifest.bin ?? {})] as string[];
  expect(named.map((path) => join(path).split(sep).join('/')).filter((path) => !paths.includes(path))).toEqual([]);

  const missing = paths.flatMap((path) =>
    importsOf(path)
      .filter((name) => !isThere(name, path))
      .map((name) => `${path}: ${name}`),
  );
  expect(missing).toEqual([]);
});

test('no script but what an install or a build runs', () => {
  const reached = new Set(['scripts/install.mjs', 'scripts/build.mjs']);
  // A set's loop goes on to what is added meanwhile.
  for (const path of reached) {
    for (const name of importsOf(path).filter((each) => each.startsWith('.'))) reached.add(resolved(name, path));
  }
  expect(below('scripts').filter((path) => !reached.has(path))).toEqual([]);
});

/** What a packed program imports, as it names it. */
function importsOf(path: string): string[] {
  if (!/\.m?js$/.test(path)) return [];
  const code = readFileSync(join(root, path), 'utf8').replace(/^\s*(\/\/|\/?\*).*$/gm, '');
  return [...code.matchAll(/(?:\bfrom |\bimport |\bimport\(|\brequire\()['"]([^'"]+)['"]/g)].map(([, name]) => name);
}

function resolved(name: string, importer: string): string {
  return join(dirname(importer), name).split(sep).join('/');
}

function isThere(name: string, importer: string): boolean {
  if (name.startsWith('.')) {
    const target = resolved(name, importer);
    return [target, `${target}.js`, `${target}/index.js`].some((path) => paths.includes(path));
  }
  const [scope, inner] = name.split('/');
  const dependency = name.startsWith('@') ? `${scope}/${inner}` : scope;
  return isBuiltin(name) || dependency in manifest.dependencies;
}

test('small enough', () => {
  expect(packed.size).toBeLessThan(500_000);
  expect(packed.unpackedSize).toBeLessThan(2_000_000);
});
