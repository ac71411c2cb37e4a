/** The scripts as npm runs them, in copies of the package where nothing is built. */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { root, runNode, temporaryFolder } from './helpers';

/** A copy of the package as `npm ci --ignore-scripts` leaves it, in a checkout or in an application's node_modules. */
function freshPackage({ installed = false } = {}): string {
  const folder = join(temporaryFolder(), ...(installed ? ['node_modules'] : []), 'ddpm-node');
  mkdirSync(folder, { recursive: true });
  for (const name of ['index.js', 'package.json', 'scripts'])
    cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  return folder;
}

/** Nothing can be found or built with this. */
const bare = { PATH: '/nonexistent', DDPM_VARIANT: 'cpu' };

/** The addon of this checkout. */
const addon: string = require('node-gyp-build').resolve(root);

function putAddon(folder: string) {
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true });
  symlinkSync(addon, join(folder, 'build', 'Release', 'ddpm.node'));
}

describe('install', () => {
  const install = (folder: string, env: NodeJS.ProcessEnv) => runNode(['scripts/install.mjs'], env, folder);

  test('takes an addon that is there and loads, unless it shall be built from source', async () => {
    const folder = freshPackage();
    putAddon(folder);
    const done = await install(folder, bare);
    expect(done).toEqual({ code: 0, stdout: 'ddpm-node: the native addon is there and loads.\n', stderr: '' });
    const forced = await install(folder, { ...bare, npm_config_build_from_source: 'true' });
    expect(forced).toMatchObject({ code: 1, stderr: expect.stringContaining('needs CMake') });
  });

  test('with DDPM_SKIP_BUILD=1 does nothing, and says how to do it later', async () => {
    const skipped = await install(freshPackage({ installed: true }), { ...bare, DDPM_SKIP_BUILD: '1' });
    expect(skipped).toMatchObject({ code: 0, stderr: '' });
    expect(skipped.stdout).toBe(
      'ddpm-node: DDPM_SKIP_BUILD=1: the native addon was not set up; npx ddpm setup does it.\n',
    );
  });

  test('fails with one line, and without a stack, before anything is downloaded', async () => {
    const { code, stderr } = await install(freshPackage(), bare);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^ddpm-node: building the native addon needs CMake [^\n]*\n$/);
  });
});

describe('build', () => {
  test.each([
    [['--variant', 'gpu'], "--variant: expected 'cpu' or 'cuda', got 'gpu'"],
    [['--fast'], "Unknown option '--fast'"],
    [['release'], "Unexpected argument 'release'"],
  ])('refuses %j', async (args, line) => {
    const { code, stderr } = await runNode(['scripts/build.mjs', ...args], bare, freshPackage());
    expect(code).toBe(1);
    expect(stderr).toContain(line);
  });
});

describe('the first require after npm ci --ignore-scripts', () => {
  const program = `
    try {
      require(process.argv[1]);
    } catch (error) {
      console.log(error.name, error.code, error.message);
    }`;

  /** Compiles the TypeScript into a copy of the package. */
  function compiled(folder: string): string {
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const args = [compiler, '--noCheck', '-p', join(root, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')];
    execFileSync(process.execPath, args, { stdio: 'ignore' });
    return folder;
  }

  test('names the one command, in a checkout and where the package is installed', async () => {
    for (const [installed, command] of [
      [false, 'npm run build'],
      [true, 'npx ddpm setup'],
    ] as const) {
      const folder = freshPackage({ installed });
      const { stdout } = await runNode(['-e', program, compiled(folder)], {});
      expect(stdout).toContain('DdpmError ERR_NATIVE_UNAVAILABLE The native addon of ddpm-node is not built.');
      expect(stdout).toContain(`Run \`${command}\``);
    }
  });
});
