/**
 * The per-user cache: `<cache>/ddpm-node/libtorch-<version>-<variant>/`, laid out as Python's site-packages are
 * (torch/, and nvidia/ beside it), because LibTorch's own libraries look for NVIDIA's by that path.
 */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { SetupError } from '../setup/report.mjs';
import { inspect } from './inspect.mjs';
import { withLock } from './lock.mjs';

/**
 * The folder that holds every LibTorch this package sets up.
 *
 * @param {NodeJS.ProcessEnv} env `DDPM_CACHE` goes before the platform's own place
 * @param {NodeJS.Platform} platform
 * @returns {string}
 * @throws {SetupError} it would be in the user's home folder, and there is none
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
  if (platform === 'win32') return env.LOCALAPPDATA ?? join(home(), 'AppData', 'Local');
  if (platform === 'darwin') return join(home(), 'Library', 'Caches');
  // The XDG specification has relative paths ignored.
  return env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(home(), '.cache');
}

/** The system has no entry for some users, such as those that a container is started as by their number alone. */
function home() {
  const problem =
    'there is no home folder to keep a cache in (HOME is not set, and the system knows none of this user); ' +
    'name a folder in DDPM_CACHE';
  let folder;
  try {
    folder = homedir();
  } catch (cause) {
    throw new SetupError(problem, { cause });
  }
  if (folder === '') throw new SetupError(problem);
  return folder;
}

/** Written last: a folder without it was never finished. It holds the size of each library. */
const markerName = 'complete.json';

/** Folders of set-ups under way: the lock's holder has one, and any other was left by a process that was killed. */
const partialPrefix = '.partial-';

/** Downloads, which a later set-up goes on from; after `forgottenAfter` milliseconds nobody will. */
const downloadPrefix = '.download-';
const forgottenAfter = 14 * 24 * 60 * 60 * 1000;

const lockName = '.lock';

/**
 * A finished LibTorch in the cache.
 *
 * @param {string} folder one LibTorch's folder
 * @param {Pick<import('./locate.mjs').Context, 'platform' | 'needed'>} context
 * @returns {{ libtorch: import('./inspect.mjs').LibTorch } | { why: string }}
 */
export function readCached(folder, { platform, needed }) {
  if (!existsSync(folder)) return { why: `${folder}: not there` };
  let sizes;
  try {
    ({ sizes } = JSON.parse(readFileSync(join(folder, markerName), 'utf8')));
  } catch {
    return { why: `${folder}: not finished (no ${markerName})` };
  }
  const root = join(folder, 'torch');
  const { libtorch, missing } = inspect(root, platform, needed);
  if (missing.length > 0) return { why: `${folder}: damaged (no torch/${missing.join(', torch/')})` };
  for (const [name, size] of Object.entries(sizes)) {
    const found = statSync(join(root, 'lib', name), { throwIfNoEntry: false })?.size;
    if (found !== size) return { why: `${folder}: damaged (torch/lib/${name} has ${found ?? 'no'} of ${size} bytes)` };
  }
  return { libtorch };
}

/**
 * Where an archive for the cache is downloaded to.
 *
 * @param {string} folder one LibTorch's folder
 * @param {string} name the archive's
 */
export function downloadFile(folder, name) {
  return join(folder, '..', downloadPrefix + name);
}

/**
 * Puts a LibTorch into the cache, all of it or nothing: it is filled under another name, checked, and renamed. One process
 * does so at a time; those that waited for it find what they came for.
 *
 * @param {Pick<import('./locate.mjs').Context, 'folder' | 'platform' | 'needed' | 'say'>} context
 * @param {(tree: string, scratch: string) => Promise<void>} fill puts torch/ (and nvidia/) under `tree`; what it leaves
 *   in `scratch` is deleted
 * @returns {Promise<import('./inspect.mjs').LibTorch>}
 */
export async function putInCache(context, fill) {
  const parent = resolve(context.folder, '..');
  await makeFolder(parent);
  return withLock(join(parent, lockName), context.say, async () => {
    const meanwhile = readCached(context.folder, context);
    return 'libtorch' in meanwhile ? meanwhile.libtorch : fillCache(parent, context, fill);
  });
}

/**
 * @param {string} parent
 * @param {Pick<import('./locate.mjs').Context, 'folder' | 'platform' | 'needed'>} context
 * @param {(tree: string, scratch: string) => Promise<void>} fill
 */
async function fillCache(parent, context, fill) {
  const { folder, platform, needed } = context;
  await removeStrays(parent);
  const partial = await mkdtemp(join(parent, partialPrefix));
  try {
    const [tree, scratch] = ['tree', 'scratch'].map((name) => join(partial, name));
    await mkdir(tree);
    await mkdir(scratch);
    await fill(tree, scratch);
    const { missing } = inspect(join(tree, 'torch'), platform, needed);
    if (missing.length > 0)
      throw new SetupError(`what was unpacked is no LibTorch that serves: it has no ${missing.join(', ')}`);
    await writeMarker(tree);
    await replace(tree, context);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  const cached = readCached(folder, context);
  if ('why' in cached) throw new SetupError(cached.why);
  return cached.libtorch;
}

/** @param {string} folder */
async function makeFolder(folder) {
  try {
    await makeAll(folder);
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

/**
 * Node's own way, `recursive`, says ENOENT where the file system is read-only.
 *
 * @param {string} folder
 */
async function makeAll(folder) {
  if (existsSync(folder)) return;
  await makeAll(dirname(folder));
  await mkdir(folder).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
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
    // Some file systems know no such call. The libraries' sizes are in the marker, so a damaged set-up is seen anyway.
    await file.sync().catch(() => {});
  } finally {
    await file.close();
  }
}

/**
 * Renames `tree` to the LibTorch's own name. Where the lock was no lock, another install may have been quicker: its result
 * is as good, and may be in use.
 *
 * @param {string} tree
 * @param {Pick<import('./locate.mjs').Context, 'folder' | 'platform' | 'needed'>} context
 */
async function replace(tree, context) {
  const { folder } = context;
  if ('libtorch' in readCached(folder, context)) return;
  await rm(folder, { recursive: true, force: true });
  try {
    await rename(tree, folder);
  } catch (error) {
    if (!('libtorch' in readCached(folder, context))) throw error;
  }
}

/**
 * Deletes what set-ups that were killed have left, but for downloads that one may still go on from. What cannot be deleted
 * is in nobody's way.
 *
 * @param {string} parent
 */
async function removeStrays(parent) {
  for (const name of await readdir(parent)) {
    const stray = join(parent, name);
    const age = async () => Date.now() - (await stat(stray)).mtimeMs;
    try {
      const forgotten = name.startsWith(downloadPrefix) && (await age()) > forgottenAfter;
      if (forgotten || name.startsWith(partialPrefix)) await rm(stray, { recursive: true, force: true });
    } catch {
      // Another user's, or gone meanwhile.
    }
  }
}
