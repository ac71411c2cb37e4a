#!/usr/bin/env node

/**
 * `npm run package`: packs what is published, into `build/packages/`: ddpm-node itself, and a platform package for each
 * addon in `prebuilds/`. In the repository's own manifest the platform packages do not appear, since `npm install` of a
 * checkout must not ask for what is not published yet; the packed one names all of them as optional dependencies.
 *
 *   --release   for publication: every platform must be there and keep to what releases promise
 *   --out DIR   another folder for the tarballs
 */

import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { archives } from './libtorch/versions.mjs';
import { platformFiles } from './package/platform-files.mjs';
import { publishedManifest } from './package/published-manifest.mjs';
import { complaints } from './prebuild/requirements.mjs';
import { environmentPath, prebuildPath, recordPath, scope, targets } from './prebuild/targets.mjs';
import { execute } from './setup/command.mjs';
import { packageRoot } from './setup/package.mjs';
import { reason, run, SetupError, say } from './setup/report.mjs';

await run(async () => {
  const { release, out = join(packageRoot, 'build', 'packages') } = readFlags();
  const folder = resolve(out);
  const manifest = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8'));
  const addons = await readAddons();
  if (addons.length === 0) throw new SetupError('there is nothing in prebuilds/; npm run prebuild makes it');
  const problems = release ? releaseProblems(addons) : [];
  for (const { target, record } of addons) {
    if (record.version !== manifest.version) {
      problems.push(`${target.name}: was built for ${record.version}, and this is ${manifest.version}; build it again`);
    }
  }
  if (problems.length > 0) throw new SetupError(problems.join('\n'));

  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const stage = join(folder, 'stage');
  for (const { target, file, record } of addons) {
    const place = join(stage, target.name);
    await mkdir(place, { recursive: true });
    await copyFile(file, join(place, 'ddpm.node'));
    await copyFile(environmentPath(file), environmentPath(join(place, 'ddpm.node')));
    const license = await readFile(join(packageRoot, 'LICENSE'), 'utf8');
    for (const [name, text] of Object.entries(platformFiles({ target, record, manifest, license }))) {
      await writeFile(join(place, name), text);
    }
    say(`packed ${await pack(place, folder)}`);
  }
  const main = join(stage, manifest.name);
  await copyPublished(main);
  await writeFile(join(main, 'package.json'), `${JSON.stringify(publishedManifest(manifest), null, 2)}\n`);
  say(`packed ${await pack(main, folder)}`);
  await rm(stage, { recursive: true });
});

function readFlags() {
  try {
    return parseArgs({ options: { release: { type: 'boolean' }, out: { type: 'string' } } }).values;
  } catch (error) {
    throw new SetupError(`${reason(error)}. Known: --release, --out DIR`);
  }
}

/** @typedef {{ target: import('./prebuild/targets.mjs').Target, file: string, record: import('../lib/loading/record.ts').AddonRecord }} Addon */

/** @returns {Promise<Addon[]>} */
async function readAddons() {
  const found = [];
  for (const target of targets) {
    const file = join(packageRoot, prebuildPath(target));
    if (existsSync(file)) found.push({ target, file, record: JSON.parse(await readFile(recordPath(file), 'utf8')) });
  }
  return found;
}

/**
 * Why these addons cannot be published as a release.
 *
 * @param {Addon[]} addons
 */
function releaseProblems(addons) {
  const problems = targets
    .filter((target) => !addons.some((addon) => addon.target === target))
    .map(({ name }) => `${scope}/${name}: not built`);
  for (const { target, record } of addons) {
    const { symbols, libtorch, architectures = [], bytes, variant } = record;
    const requirements = symbols && { symbols, libraries: libtorch.libraries, architectures };
    problems.push(...complaints({ variant, bytes, requirements }).map((line) => `${scope}/${target.name}: ${line}`));
    const archive = archives[`${target.platform}-${target.arch}-${variant}`];
    if (variant === 'cpu' && archive?.sha256 === undefined) {
      problems.push(`${scope}/${target.name}: the SHA-256 of its LibTorch is not in scripts/libtorch/versions.mjs`);
    }
  }
  return problems;
}

/**
 * Copies what npm would pack of this package.
 *
 * @param {string} destination
 */
async function copyPublished(destination) {
  const listed = await npm(['pack', '--dry-run', '--json', '--ignore-scripts'], packageRoot);
  const packed = JSON.parse(listed);
  const [{ files }] = Array.isArray(packed) ? packed : Object.values(packed);
  for (const { path } of files) {
    if (path.startsWith('prebuilds/')) continue;
    await mkdir(dirname(join(destination, path)), { recursive: true });
    await cp(join(packageRoot, path), join(destination, path));
  }
}

/**
 * @param {string} place a package's folder
 * @param {string} folder for the tarball
 * @returns {Promise<string>} its file
 */
async function pack(place, folder) {
  const packed = JSON.parse(await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], place));
  const [{ filename }] = Array.isArray(packed) ? packed : Object.values(packed);
  return join(folder, filename.replace(/^@/, '').replace('/', '-'));
}

/**
 * @param {string[]} args
 * @param {string} folder to run it in
 */
async function npm(args, folder) {
  const command = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const { ok, stdout, why } = await execute(command, args, { cwd: folder });
  if (!ok) throw new SetupError(`npm ${args.join(' ')} in ${folder}: ${why}`);
  return stdout;
}
