#!/usr/bin/env node
/**
 * `npm run test:install`: installs what `npm run package` has packed as users do, where there is no compiler, no CMake and
 * no Python, and uses it: with npm, pnpm and yarn; in folders that cannot be written or have odd names; with LibTorch
 * there already, being fetched by two at once, cut off, damaged, or not to be had. Takes minutes.
 *
 *   --node FILE      another Node to install and run with; may be given more than once
 *   --only WORD      only the checks whose name contains it
 *   --neighbours     onnxruntime-node too, beside which this package must behave; it is fetched for that
 *
 * LibTorch is taken from the user's cache (DDPM_CACHE), where `npx ddpm setup` or a build has put it.
 */

import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { serveArchive } from './install-test/archive-server.mjs';
import { serveRegistry } from './install-test/registry.mjs';
import { npmProgram, World } from './install-test/world.mjs';
import { writeZip } from './install-test/zip.mjs';
import { cacheFolder } from './libtorch/cache.mjs';
import { sha256Of } from './libtorch/checksum.mjs';
import { pins } from './libtorch/versions.mjs';
import { platformFiles } from './package/platform-files.mjs';
import { scope, targets } from './prebuild/targets.mjs';
import { execute } from './setup/command.mjs';
import { packageRoot } from './setup/package.mjs';
import { reason, run, SetupError } from './setup/report.mjs';

/** An account that may write nowhere; root itself could write to what is read-only. */
const nobody = 65534;

/** The package managers, by what they are called on npm's registry. */
const managers = ['pnpm@10', 'yarn@1', '@yarnpkg/cli-dist@4'];

/** Nobody listens there. */
const nowhere = 'http://127.0.0.1:9/libtorch.zip';

/** Where each world has them. @type {Map<World, string>} */
const managersOf = new Map();

/** Seconds from a cold install to the first sample, LibTorch being in the cache. */
const longest = 20;

await run(async () => {
  const { values } = parseArgs({
    options: {
      node: { type: 'string', multiple: true, default: [process.execPath] },
      only: { type: 'string' },
      neighbours: { type: 'boolean' },
    },
  });
  const results = { passed: 0, failed: 0 };
  for (const node of values.node) {
    const { stdout } = await execute(node, ['--version']);
    console.log(`Node ${stdout.trim()}`);
    const stage = await setStage(node);
    try {
      for (const [name, body] of checks(stage, values.neighbours ?? false)) {
        if (values.only && !name.includes(values.only)) continue;
        const begin = performance.now();
        const outcome = await Promise.resolve(body()).then(
          (told) => ({ ok: true, told: told ?? '' }),
          (error) => ({ ok: false, told: reason(error) }),
        );
        results[outcome.ok ? 'passed' : 'failed']++;
        const seconds = ((performance.now() - begin) / 1000).toFixed(1);
        console.log(`${outcome.ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)${outcome.told && `: ${outcome.told}`}`);
      }
    } finally {
      stage.close();
    }
  }
  console.log(`${results.passed} passed, ${results.failed} failed`);
  if (results.failed > 0) process.exitCode = 1;
});

/** @typedef {Awaited<ReturnType<typeof setStage>>} Stage */

/** @param {string} node */
async function setStage(node) {
  const packages = join(packageRoot, 'build', 'packages');
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
  const tarball = join(packages, `ddpm-node-${version}.tgz`);
  if (!existsSync(tarball)) throw new SetupError('there are no packages to install; npm run package makes them');
  const name = `libtorch-${pins.cpu.version}-cpu`;
  const filled = join(cacheFolder(process.env, process.platform), name);
  if (!existsSync(join(filled, 'complete.json')))
    throw new SetupError(`there is no ${filled}; npx ddpm setup makes it`);

  const { stdout: registry } = await execute(process.execPath, [npmProgram(), 'config', 'get', 'registry']);
  const scoped = await serveRegistry(platformPackages(packages, version));
  const world = new World({ node, tarball, scopeRegistry: scoped.url, registry: registry.trim(), cache: '' });
  // A cache of the world's own, whose large files are the user's.
  world.cache = join(world.root, 'cache');
  linkTree(filled, join(world.cache, 'ddpm-node', name));
  chmodSync(world.root, 0o755);
  const archive = join(world.root, 'libtorch.zip');
  await writeZip(archive, archiveEntries(join(filled, 'torch')));
  const server = await serveArchive(archive);
  const close = () => {
    scoped.close();
    server.close();
    world.remove();
  };
  return { world, server, archive, sha256: await sha256Of(archive), close };
}

/**
 * Every platform package: the ones that are packed, and of the others the manifest, by which they are passed over.
 *
 * @param {string} folder
 * @param {string} version
 */
function platformPackages(folder, version) {
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
  const license = readFileSync(join(packageRoot, 'LICENSE'), 'utf8');
  return targets.map((target) => {
    const tarball = join(folder, `${scope.slice(1)}-${target.name}-${version}.tgz`);
    const record = { libtorch: {}, symbols: {} };
    // @ts-expect-error Of a package that is passed over nobody reads more than the manifest.
    const files = platformFiles({ target, record, manifest, license });
    const own = JSON.parse(files['package.json']);
    if (existsSync(tarball)) return { manifest: own, tarball };
    // Not built here: for a system that this is not.
    return { manifest: { ...own, os: [process.platform === 'aix' ? 'sunos' : 'aix'] } };
  });
}

/**
 * What must hold, by name; each throws where it does not, and may tell what it measured.
 *
 * @param {Stage} stage
 * @param {boolean} neighbours
 * @returns {[string, () => Promise<string | void>][]}
 */
function checks({ world, server, archive, sha256 }, neighbours) {
  const { state } = server;
  /** @type {NodeJS.ProcessEnv} */
  const fromServer = { DDPM_LIBTORCH_URL: server.url, DDPM_LIBTORCH_SHA256: sha256 };
  const install = (
    /** @type {string} */ app,
    /** @type {NodeJS.ProcessEnv} */ env = {},
    /** @type {string[]} */ ...args
  ) => world.npm(['install', '--foreground-scripts', ...args], app, env);
  let colds = 0;
  /** An empty cache. */
  const cold = () => join(world.root, `cold ${colds++}`);

  /** @type {[string, () => Promise<string | void>][]} */
  const all = [
    [
      'npm, LibTorch in the cache',
      async () => {
        const app = world.application('npm');
        const installed = succeeded(await install(app));
        contains(installed.output, 'the native addon is there and loads');
        const used = await use(world, app);
        const total = installed.seconds + used.seconds;
        if (total >= longest) throw new Error(`install to first sample took ${total.toFixed(1)} s`);
        return `install ${installed.seconds.toFixed(1)} s, then load ${used.loadMs} ms and first sample after ${used.drawnMs} ms`;
      },
    ],
    [
      'a path with a space and letters beyond ASCII, node_modules that cannot be written',
      async () => {
        const app = world.application('mein Örtchen ☂');
        succeeded(await install(app));
        const before = listing(app);
        readOnly(app);
        await use(world, app, {}, { uid: process.getuid?.() === 0 ? nobody : undefined });
        if (listing(app) !== before) throw new Error('something was written into it');
      },
    ],
    [
      'pnpm',
      async () => {
        const app = world.application('pnpm');
        succeeded(
          await world.run([await manager(world, 'pnpm'), 'install', '--config.dangerouslyAllowAllBuilds=true'], app),
        );
        await use(world, app);
      },
    ],
    [
      'pnpm, which runs no install scripts unless told, then npx ddpm setup',
      async () => {
        const app = world.application('pnpm-plain');
        const env = { DDPM_CACHE: cold() };
        // It may end with an error that names the packages whose scripts were left out; they are there all the same.
        await world.run([await manager(world, 'pnpm'), 'install'], app, env);
        await mended(world, app, { ...env, ...fromServer });
      },
    ],
    [
      'yarn 1',
      async () => {
        const app = world.application('yarn');
        succeeded(await world.run([await manager(world, 'yarn'), 'install', '--no-progress'], app));
        await use(world, app);
      },
    ],
    [
      "yarn 4, with Plug'n'Play",
      async () => {
        const app = world.application('yarn-pnp');
        writeFileSync(join(app, '.yarnrc.yml'), yarnConfiguration(world));
        writeFileSync(join(app, 'yarn.lock'), '');
        succeeded(await world.run([await manager(world, '@yarnpkg/cli-dist'), 'install'], app));
        await use(world, app, { NODE_OPTIONS: `--require ${JSON.stringify(join(app, '.pnp.cjs'))}` });
      },
    ],
    [
      '--ignore-scripts: the first require names one command, which mends it',
      async () => {
        const app = world.application('ignore-scripts');
        const env = { DDPM_CACHE: cold() };
        succeeded(await install(app, env, '--ignore-scripts'));
        await mended(world, app, { ...env, ...fromServer });
      },
    ],
    [
      "npm's strict-allow-scripts: the script is named; denied, npx ddpm setup does its work; allowed, npm rebuild",
      async () => {
        const app = world.application('strict-allow-scripts');
        const env = { DDPM_CACHE: cold() };
        const refused = await install(app, env, '--strict-allow-scripts');
        if (refused.code === 0) return 'left out: this npm knows no such setting';
        contains(refused.output, 'ESTRICTALLOWSCRIPTS', 'node scripts/install.mjs');
        succeeded(await install(app, env, '--ignore-scripts'));
        succeeded(await world.npm(['install-scripts', 'deny', 'ddpm-node'], app, env));
        succeeded(await install(app, env, '--strict-allow-scripts'));
        await mended(world, app, { ...env, ...fromServer });

        const other = world.application('allow-scripts');
        const otherEnv = { ...fromServer, DDPM_CACHE: cold() };
        succeeded(await install(other, otherEnv, '--ignore-scripts'));
        succeeded(await world.npm(['install-scripts', 'approve', 'ddpm-node'], other, otherEnv));
        succeeded(await world.npm(['rebuild', 'ddpm-node'], other, otherEnv));
        await use(world, other, otherEnv);
      },
    ],
    [
      'DDPM_LIBTORCH at the install alone',
      async () => {
        const app = world.application('offline-folder');
        const env = { DDPM_CACHE: cold() };
        const torch = join(world.cache, 'ddpm-node', `libtorch-${pins.cpu.version}-cpu`, 'torch');
        succeeded(await install(app, { ...env, DDPM_LIBTORCH: torch, DDPM_LIBTORCH_URL: nowhere }));
        await use(world, app, env);
      },
    ],
    [
      'an archive that was brought along',
      async () => {
        const app = world.application('offline-archive');
        const env = { DDPM_CACHE: cold() };
        succeeded(await install(app, env, '--ignore-scripts'));
        const flags = ['--from', archive, '--sha256', sha256];
        succeeded(
          await world.npm(['exec', '--', 'ddpm', 'setup', ...flags], app, { ...env, DDPM_LIBTORCH_URL: nowhere }),
        );
        await use(world, app, env);
      },
    ],
    [
      'two installs at once into one cold cache',
      async () => {
        const apps = ['at once 1', 'at once 2'].map((name) => world.application(name));
        const env = { ...fromServer, DDPM_CACHE: cold() };
        const before = { ...state };
        await Promise.all(apps.map(async (app) => succeeded(await install(app, env))));
        if (state.requests - before.requests !== 1) throw new Error('the archive was asked for more than once');
        for (const app of apps) await use(world, app, env);
      },
    ],
    [
      'an install that is killed half-way, and run again',
      async () => {
        const app = world.application('killed');
        const env = { ...fromServer, DDPM_CACHE: cold() };
        const before = { ...state };
        state.slow = true;
        const first = world.start([npmProgram(), 'install'], app, env);
        const ended = first.ended.then(() => 'ended');
        while (state.bytes - before.bytes < server.size / 2) {
          if ((await Promise.race([ended, sleep(20)])) === 'ended') throw new Error('it ended before it was killed');
        }
        await first.kill();
        state.slow = false;
        succeeded(await install(app, env));
        const sent = state.bytes - before.bytes;
        if (sent > server.size * 1.2) throw new Error(`${sent} bytes were sent of ${server.size}: it began anew`);
        await use(world, app, env);
      },
    ],
    [
      'a download that is damaged on the way, and run again',
      async () => {
        const app = world.application('damaged');
        const env = { ...fromServer, DDPM_CACHE: cold() };
        state.damaged = true;
        const failed = await install(app, env);
        state.damaged = false;
        if (failed.code === 0) throw new Error('it was taken');
        contains(failed.output, 'SHA-256', 'damaged or replaced on the way', 'DDPM_LIBTORCH_URL', 'npx ddpm setup');
        succeeded(await install(app, env));
        await use(world, app, env);
      },
    ],
    [
      'no network',
      async () => {
        const app = world.application('no-network');
        const failed = await install(app, { DDPM_CACHE: cold(), DDPM_LIBTORCH_URL: nowhere });
        if (failed.code === 0) throw new Error('it was installed');
        contains(failed.output, 'ECONNREFUSED', 'DDPM_LIBTORCH_URL', 'HTTPS_PROXY', 'npx ddpm setup');
      },
    ],
  ];
  if (neighbours) {
    all.push([
      'beside onnxruntime-node and sharp, in both orders',
      async () => {
        const app = world.application('neighbours');
        succeeded(await install(app, {}));
        // Its own install script fetches a GPU's libraries.
        succeeded(await install(app, {}, '--ignore-scripts', 'onnxruntime-node@1', 'sharp'));
        return neighbourReport(world, app);
      },
    ]);
  }
  return all;
}

/** @param {World} world @param {string} app */
async function neighbourReport(world, app) {
  const orders = [
    ['ddpm-node', 'onnxruntime-node', 'sharp'],
    ['onnxruntime-node', 'sharp', 'ddpm-node'],
  ];
  // In turns, since other work on the machine comes and goes.
  /** @type {{ order: string[], openmp: string[], threads: number, stepMs: number }[]} */
  const rounds = [];
  for (let round = 0; round < 3; round++) {
    for (const order of orders) {
      const { stdout } = succeeded(await world.run(['neighbours.cjs', ...order], app));
      rounds.push({ order, ...JSON.parse(stdout) });
    }
  }
  const told = orders.map((order) => {
    const mine = rounds.filter((round) => round.order === order);
    return { ...mine[0], stepMs: Math.min(...mine.map(({ stepMs }) => stepMs)) };
  });
  const [first, last] = told;
  for (const { openmp } of rounds) {
    if (openmp.length !== 1) throw new Error(`OpenMP runtimes: ${openmp.join(', ')}`);
  }
  if (first.threads !== last.threads) throw new Error(`threads: ${first.threads} and ${last.threads}`);
  const ratio = last.stepMs / first.stepMs;
  if (ratio > 1.25 || ratio < 0.8) throw new Error(`a step takes ${first.stepMs} and ${last.stepMs} ms`);
  return `${first.threads} threads in both, a step ${first.stepMs.toFixed(0)} ms before and ${last.stepMs.toFixed(0)} ms after them`;
}

/**
 * Uses the package in an application.
 *
 * @param {World} world
 * @param {string} app
 * @param {NodeJS.ProcessEnv} [env]
 * @param {{ uid?: number }} [as]
 */
async function use(world, app, env, as) {
  const { stdout, seconds } = succeeded(await world.run(['use.cjs'], app, env, as));
  const told = JSON.parse(stdout);
  if (told.step !== 3 || !Number.isFinite(told.loss) || !told.equal) throw new Error(stdout);
  const openmp = told.libraries?.filter((/** @type {string} */ file) => /gomp|omp5|libomp/.test(file)) ?? [];
  if (process.platform === 'linux' && openmp.length !== 1) throw new Error(`OpenMP runtimes: ${openmp.join(', ')}`);
  return { seconds, loadMs: Math.round(told.loadMs), drawnMs: Math.round(told.drawnMs) };
}

/**
 * Where the install script has not run: the first require names the command, and after it the package works.
 *
 * @param {World} world
 * @param {string} app
 * @param {NodeJS.ProcessEnv} env
 */
async function mended(world, app, env) {
  const refused = await world.run(['use.cjs'], app, env);
  if (refused.code === 0) throw new Error('it worked without');
  contains(refused.output, 'ERR_NATIVE_UNAVAILABLE', 'Run `npx ddpm setup`');
  succeeded(await world.npm(['exec', '--', 'ddpm', 'setup'], app, env));
  await use(world, app, env);
}

/**
 * A package manager's program.
 *
 * @param {World} world
 * @param {string} name
 */
async function manager(world, name) {
  const folder = managersOf.get(world) ?? join(world.root, 'managers');
  if (!managersOf.has(world)) {
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    succeeded(await world.npm(['install', ...managers], folder));
    managersOf.set(world, folder);
  }
  const place = join(folder, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'));
  return join(place, typeof bin === 'string' ? bin : Object.values(bin)[0]);
}

/** @param {World} world */
function yarnConfiguration({ registry, scopeRegistry, root }) {
  return [
    'enableGlobalCache: false',
    'enableTelemetry: false',
    `globalFolder: ${JSON.stringify(join(root, 'yarn'))}`,
    `cacheFolder: ${JSON.stringify(join(root, 'yarn-cache'))}`,
    `npmRegistryServer: ${JSON.stringify(registry)}`,
    'unsafeHttpWhitelist: ["127.0.0.1"]',
    // With no minimal age: else what was published just now is left out.
    `npmScopes: { ddpm-node: { npmRegistryServer: ${JSON.stringify(scopeRegistry)}, npmMinimalAgeGate: 0 } }`,
  ].join('\n');
}

/**
 * @template {{ code: unknown, output: string }} T
 * @param {T} finished
 * @returns {T}
 */
function succeeded(finished) {
  if (finished.code !== 0) throw new Error(`exit code ${finished.code}\n${finished.output}`);
  return finished;
}

/** @param {string} text @param {string[]} parts */
function contains(text, ...parts) {
  for (const part of parts) if (!text.includes(part)) throw new Error(`expected '${part}' in:\n${text}`);
}

/** @param {string} folder @returns {string} every file below it, with its time of change */
function listing(folder) {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .sort()
    .map((name) => `${name} ${statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs}`)
    .join('\n');
}

/** @param {string} folder */
function readOnly(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) chmodSync(path, 0o555);
    else if (entry.isFile()) chmodSync(path, statSync(path).mode & 0o555);
  }
  chmodSync(folder, 0o555);
}

/** @param {string} from @param {string} to */
function linkTree(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    const source = join(entry.parentPath, entry.name);
    const target = join(to, relative(from, source));
    if (entry.isDirectory()) mkdirSync(target, { recursive: true });
    else {
      try {
        linkSync(source, target);
      } catch {
        // Another file system.
        cpSync(source, target);
      }
    }
  }
}

/** @param {string} torch @returns {{ name: string, file: string }[]} what LibTorch needs to be taken for whole */
function archiveEntries(torch) {
  const headers = [
    'include/ATen/ATen.h',
    'include/torch/csrc/api/include/torch/torch.h',
    'include/torch/headeronly/version.h',
  ];
  const libraries = readdirSync(join(torch, 'lib')).map((name) => `lib/${name}`);
  return [...headers, ...libraries].map((name) => ({ name: `torch/${name}`, file: join(torch, ...name.split('/')) }));
}
