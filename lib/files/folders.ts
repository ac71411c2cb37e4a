/** Folders: made, flushed, removed, and worked on by one call at a time. */
import { randomBytes } from 'node:crypto';
import { fsync } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, rename, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { isMissing } from './errors';
import { patiently } from './patiently';

const fsyncDescriptor = promisify(fsync);

/** Makes what was written to a file last through a power cut: `file.sync()`, which Yarn's Plug'n'Play has not got. */
export function syncFile(file: FileHandle): Promise<void> {
  return fsyncDescriptor(file.fd);
}

/** Makes the names in a folder last through a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows has no such call for folders, and refuses to open one.
  if (process.platform === 'win32') return;
  const handle = await open(folder);
  try {
    await syncFile(handle);
  } finally {
    await handle.close();
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

/** For a temporary name. */
export function randomName(): string {
  return randomBytes(6).toString('hex');
}
