/**
 * The per-user cache: `<cache>/ddpm-node/libtorch-<version>-<variant>/`, laid out as Python's site-packages are
 * (torch/, and nvidia/ beside it), because LibTorch's own libraries look for NVIDIA's by that path.
 */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { SetupError } from '../setup/report.mjs';
import { inspect } from './inspect.mjs';

/**
 * The folder that holds every LibTorch this package sets up.
 *
 * @param {NodeJS.ProcessEnv} env `DDPM_CACHE` goes before the platform's own place
 * @param {NodeJS.Platform} platform
 * @returns {string}
 */
export function cacheFolder(env, platform) {
  return join(base(env, platform), 'ddpm-node');
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {NodeJS.Platform} platform
 */
function base(env, platform) {
  // npm runs scripts in the package's folder, and tells where the user was in INIT_CWD.
  if (env.DDPM_CACHE) return resolve(env.INIT_CWD ?? '', env.DDPM_CACHE);
  if (platform === 'win32') return env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches');
  // The XDG specification has relative paths ignored.
  return env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(homedir(), '.cache');
}

/** Written last: a folder without it was never finished. It holds the size of each library. */
const markerName = 'complete.json';

/** Folders of set-ups under way; `strayAge` after their last change nobody works on them any more. */
const partialPrefix = '.partial-';
const strayAge = 24 * 60 * 60 * 1000;

/**
 * A finished LibTorch in the cache.
 *
 * @param {string} folder one LibTorch's folder
 * @param {NodeJS.Platform} platform
 * @returns {{ libtorch: import('./inspect.mjs').LibTorch } | { why: string }}
 */
export function readCached(folder, platform) {
  if (!existsSync(folder)) return { why: `${folder}: not there` };
  let sizes;
  try {
    ({ sizes } = JSON.parse(readFileSync(join(folder, markerName), 'utf8')));
  } catch {
    return { why: `${folder}: not finished (no ${markerName})` };
  }
  const root = join(folder, 'torch');
  const { libtorch, missing } = inspect(root, platform);
  if (missing.length > 0) return { why: `${folder}: damaged (no torch/${missing.join(', torch/')})` };
  for (const [name, size] of Object.entries(sizes)) {
    const found = statSync(join(root, 'lib', name), { throwIfNoEntry: false })?.size;
    if (found !== size) return { why: `${folder}: damaged (torch/lib/${name} has ${found ?? 'no'} of ${size} bytes)` };
  }
  return { libtorch };
}

/**
 * Puts a LibTorch into the cache, all of it or nothing: it is filled under another name, checked, and renamed.
 *
 * @param {string} folder where it shall be
 * @param {NodeJS.Platform} platform
 * @param {(tree: string, scratch: string) => Promise<void>} fill puts torch/ (and nvidia/) under `tree`; what it leaves
 *   in `scratch` is deleted
 * @returns {Promise<import('./inspect.mjs').LibTorch>}
 */
export async function putInCache(folder, platform, fill) {
  const parent = resolve(folder, '..');
  await makeFolder(parent);
  await removeStrays(parent);
  const partial = await mkdtemp(join(parent, partialPrefix));
  try {
    const [tree, scratch] = ['tree', 'scratch'].map((name) => join(partial, name));
    await mkdir(tree);
    await mkdir(scratch);
    await fill(tree, scratch);
    const { missing } = inspect(join(tree, 'torch'), platform);
    if (missing.length > 0) throw new SetupError(`what was unpacked is no LibTorch: it has no ${missing.join(', ')}`);
    await writeMarker(tree);
    await replace(tree, folder, platform);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  const cached = readCached(folder, platform);
  if ('why' in cached) throw new SetupError(cached.why);
  return cached.libtorch;
}

/** @param {string} folder */
async function makeFolder(folder) {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (cause);
    throw new SetupError(
      `the cache ${folder} cannot be made (${code}); name a folder that can be written in DDPM_CACHE`,
      {
        cause,
      },
    );
  }
}

/** @param {string} tree */
async function writeMarker(tree) {
  const lib = join(tree, 'torch', 'lib');
  /** @type {Record<string, number>} */
  const sizes = {};
  for (const entry of await readdir(lib, { withFileTypes: true })) {
    if (entry.isFile()) sizes[entry.name] = (await stat(join(lib, entry.name))).size;
  }
  const file = await open(join(tree, markerName), 'wx');
  try {
    await file.writeFile(JSON.stringify({ sizes }, null, 2));
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Renames `tree` to `folder`. Another install may have been quicker: its result is as good, and may be in use.
 *
 * @param {string} tree
 * @param {string} folder
 * @param {NodeJS.Platform} platform
 */
async function replace(tree, folder, platform) {
  if ('libtorch' in readCached(folder, platform)) return;
  await rm(folder, { recursive: true, force: true });
  try {
    await rename(tree, folder);
  } catch (error) {
    if (!('libtorch' in readCached(folder, platform))) throw error;
  }
}

/**
 * Deletes what set-ups that were killed have left.
 *
 * @param {string} parent
 */
async function removeStrays(parent) {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(partialPrefix)) continue;
    const stray = join(parent, name);
    const age = Date.now() - (await stat(stray)).mtimeMs;
    if (age > strayAge) await rm(stray, { recursive: true, force: true });
  }
}
