/** Folders: made, flushed, removed, and worked on by one call at a time. */
import { randomBytes } from 'node:crypto';
import { fsync } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, rename, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { warnOnce } from '../warn';
import { isMissing, systemCode, writeError } from './errors';
import { patiently } from './patiently';

const fsyncDescriptor = promisify(fsync);

/**
 * What says that something cannot be flushed here, and not that flushing failed: some file systems over a network or of
 * shared folders know no such call, for folders above all; a folder may be written but not read; files may run out.
 */
const CANNOT_FLUSH = new Set([
  'EACCES',
  'EBADF',
  'EINVAL',
  'EISDIR',
  'EMFILE',
  'ENFILE',
  'ENOSYS',
  'ENOTSUP',
  'EOPNOTSUPP',
  'EPERM',
  'ERR_ACCESS_DENIED',
]);

/**
 * Makes what was written to a file last through a power cut, where the file system can.
 *
 * @param path Whose file it is, for the warning.
 */
export async function syncFile(file: FileHandle, path: string): Promise<void> {
  await flushing(path, () => flush(file));
}

/** Makes the names in a folder last through a power cut, where the file system can. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows has no such call for folders, and refuses to open one.
  if (process.platform === 'win32') return;
  await flushing(folder, async () => {
    const handle = await open(folder);
    try {
      await flush(handle);
    } finally {
      await handle.close();
    }
  });
}

/** Yarn's Plug'n'Play has no `file.sync()`, and Node's permission model allows nothing else. */
function flush(file: FileHandle): Promise<void> {
  return typeof file.sync === 'function' ? file.sync() : fsyncDescriptor(file.fd);
}

async function flushing(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined || !CANNOT_FLUSH.has(code)) throw error;
    const what = 'what is saved is there, but a power cut may take it away';
    warnOnce('DDPM_NOT_FLUSHED', `${path}: cannot be flushed to the disk (${code}): ${what}`);
  }
}

/** Gives a file or folder another name, in place of what has it. */
export async function move(from: string, to: string): Promise<void> {
  await patiently(() => rename(from, to));
}

/** Whether there is anything of this name. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** The folders of some relative paths, each once, with the folder itself ('.'). */
export function foldersOf(paths: readonly string[]): string[] {
  return [...new Set(['.', ...paths.map((path) => dirname(path))])];
}

/** {@link syncFolder} for folders below one, those that are there. */
export async function syncFolders(root: string, folders: readonly string[]): Promise<void> {
  for (const folder of folders) if (await exists(join(root, folder))) await syncFolder(join(root, folder));
}

/**
 * Makes a folder (an absolute path) and those above it; returns the ones that it made, deepest first. Node's own way,
 * `recursive`, says ENOENT where the file system is read-only.
 */
export async function makeFolder(folder: string): Promise<string[]> {
  if (await isFolder(folder)) return [];
  const above = (await exists(dirname(folder))) ? [] : await makeFolder(dirname(folder));
  try {
    await mkdir(folder);
  } catch (error) {
    // Another call may have made it meanwhile.
    if (await isFolder(folder)) return above;
    await removeEmpty(above);
    throw error;
  }
  return [folder, ...above];
}

/**
 * {@link makeFolder} for the folder that a file is to be in.
 *
 * @throws {DdpmError} `ERR_IO`.
 */
export async function makeFolderFor(file: string): Promise<void> {
  const folder = dirname(resolve(file));
  await makeFolder(folder).catch((error: unknown) => {
    throw writeError(error, folder);
  });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Removes those of some folders that are empty. */
export async function removeEmpty(folders: readonly string[]): Promise<void> {
  for (const folder of folders) await rmdir(folder).catch(() => {});
}

const tails = new Map<string, Promise<void>>();

/** Runs work on a path after the work on it that was asked for before. */
export async function oneAtATime<T>(path: string, work: () => Promise<T>): Promise<T> {
  const before = tails.get(path) ?? Promise.resolve();
  const run = before.then(work);
  // The next in line starts whether this one succeeds or not.
  const tail = run.then(
    () => {},
    () => {},
  );
  tails.set(path, tail);
  try {
    return await run;
  } finally {
    if (tails.get(path) === tail) tails.delete(path);
  }
}

/**
 * A name in the folder of a file for what is to become that file. It is short whatever the file's own is, which may be as
 * long as names can be.
 */
export function temporaryFor(file: string): string {
  return join(dirname(file), `.ddpm-file-${randomName()}`);
}

/** For a temporary name. */
export function randomName(): string {
  return randomBytes(6).toString('hex');
}
