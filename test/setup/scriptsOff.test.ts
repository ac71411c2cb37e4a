/**
 * An install that ran no script of ours: with --ignore-scripts, by npm 12, or where npm refuses scripts that nobody has
 * allowed. The first require and `npx ddpm` name the one command, and that does what the install step would.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Finished, root, runNode, temporaryFolder } from './helpers';

const npmCli = [
  process.env.npm_execpath,
  join(dirname(realpathSync(process.execPath)), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  join(dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js'),
].find((file) => file !== undefined && /npm-cli\.js$/.test(file) && existsSync(file)) as string;

/** npm with no network, no user's settings, and a cache of its own. */
const settings = {
  npm_config_offline: 'true',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
  npm_config_userconfig: '/nonexistent/npmrc',
};
let npmCache: string;

function npm(args: string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  const path = dirname(process.execPath);
  const all = { PATH: path, HOME: npmCache, npm_config_cache: npmCache, ...settings, DDPM_VARIANT: 'cpu', ...env };
  return new Promise((resolve) => {
    execFile(process.execPath, [npmCli, ...args], { cwd, env: all }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? null), stdout, stderr });
    });
  });
}

const version = execFileSync(process.execPath, [npmCli, '--version'], { encoding: 'utf8' }).trim();
const [major, minor] = version.split('.').map(Number);
/** Whether this npm can be told to refuse scripts that are not allowed. */
const knowsAllowing = major > 11 || (major === 11 && minor >= 16);

let tarball: string;
beforeAll(async () => {
  npmCache = temporaryFolder();
  // What is published, less the dependencies: an install without a network could not have them.
  const source = temporaryFolder();
  for (const name of ['index.js', 'scripts']) cpSync(join(root, name), join(source, name), { recursive: true });
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const args = [compiler, '--noCheck', '-p', join(root, 'tsconfig.build.json'), '--outDir', join(source, 'dist')];
  execFileSync(process.execPath, args, { stdio: 'ignore' });
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { install } = manifest.scripts;
  for (const name of ['dependencies', 'devDependencies']) delete manifest[name];
  writeFileSync(join(source, 'package.json'), JSON.stringify({ ...manifest, scripts: { install } }));
  const packed = await npm(['pack', '--json'], source);
  tarball = join(source, JSON.parse(packed.stdout)[0].filename);
});

/** An application without anything. */
function application(): string {
  const app = temporaryFolder();
  writeFileSync(join(app, 'package.json'), '{"name":"app","version":"1.0.0","private":true}');
  return app;
}

/** Gives the package its dependencies, as an install with a network would have. */
function withDependencies(app: string): string {
  const place = join(app, 'node_modules', 'ddpm-node');
  symlinkSync(join(root, 'node_modules'), join(place, 'node_modules'), 'junction');
  return place;
}

/** That all that one can do first names the one command, and that it does the work of the install step. */
async function expectMendable(app: string): Promise<void> {
  const place = withDependencies(app);
  const first = await runNode(['-e', "require('ddpm-node')"], { PATH: '/nonexistent' }, app);
  expect(first.code).toBe(1);
  expect(first.stderr).toContain("code: 'ERR_NATIVE_UNAVAILABLE'");
  expect(first.stderr).toContain('Run `npx ddpm setup`: it sets LibTorch up');

  const told = await npm(['exec', '--', 'ddpm'], app);
  expect(told.code).toBe(1);
  expect(told.stdout).toContain('Usage: ddpm');
  expect(told.stderr).toContain('Run `npx ddpm setup`: it sets LibTorch up');

  // Without tools and a network, both come as far, and say the same.
  const bare = { PATH: '/nonexistent', HOME: npmCache, DDPM_VARIANT: 'cpu' };
  const step = await runNode(['scripts/install.mjs'], bare, place);
  const set = await runNode([join(place, 'dist', 'cli', 'main.js'), 'setup'], bare, app);
  expect(step).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/needs CMake .*, then run npx ddpm setup\.\n$/),
  });
  expect(set).toEqual(step);

  // And with an addon both take it.
  mkdirSync(join(place, 'build', 'Release'), { recursive: true });
  symlinkSync(require('node-gyp-build').resolve(root), join(place, 'build', 'Release', 'ddpm.node'));
  const done = await npm(['exec', '--', 'ddpm', 'setup'], app);
  expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('the native addon is there and loads') });
  const ready = await npm(['exec', '--', 'ddpm'], app);
  expect(ready).toMatchObject({ code: 0, stdout: expect.stringContaining('The native addon is there and loads.') });
  expect(await runNode(['-e', "console.log(typeof require('ddpm-node').Ddpm)"], {}, app)).toMatchObject({
    stdout: 'function\n',
  });
}

test('with --ignore-scripts', async () => {
  const app = application();
  expect((await npm(['install', '--ignore-scripts', tarball], app)).code).toBe(0);
  await expectMendable(app);
});

const whereAllowing = knowsAllowing ? test : test.skip;

whereAllowing('with strict-allow-scripts npm names the script, and once it is denied installs', async () => {
  const app = application();
  const refused = await npm(['install', '--strict-allow-scripts', tarball], app);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(/ddpm-node@\S+ \(install: node scripts\/install\.mjs\)/);
  expect(existsSync(join(app, 'node_modules', 'ddpm-node'))).toBe(false);

  // As docs/installing.md has it.
  expect((await npm(['install', '--ignore-scripts', tarball], app)).code).toBe(0);
  expect((await npm(['install-scripts', 'deny', 'ddpm-node'], app)).code).toBe(0);
  expect((await npm(['install', '--strict-allow-scripts'], app)).code).toBe(0);
  await expectMendable(app);
});

whereAllowing('once it is allowed, npm rebuild runs the install step', async () => {
  const app = application();
  expect((await npm(['install', '--ignore-scripts', tarball], app)).code).toBe(0);
  expect((await npm(['install-scripts', 'approve', 'ddpm-node'], app)).code).toBe(0);
  const rebuilt = await npm(['rebuild', 'ddpm-node', '--foreground-scripts', '--strict-allow-scripts'], app, {
    DDPM_SKIP_BUILD: '1',
  });
  expect(rebuilt).toMatchObject({ code: 0, stdout: expect.stringContaining('npx ddpm setup does it') });
});

test('no package that ours needs has an install script of its own', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const entries = Object.entries<{ dev?: boolean; hasInstallScript?: boolean }>(packages);
  const needed = entries.filter(([name, { dev, hasInstallScript }]) => name !== '' && !dev && hasInstallScript);
  expect(needed.map(([name]) => name)).toEqual([]);
});
