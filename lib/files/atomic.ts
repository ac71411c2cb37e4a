/**
 * Writes that are whole or not there at all. Everything is written under another name and flushed first; then it is
 * renamed into place, and the folder is flushed.
 */
import type { Stats } from 'node:fs';
import {
  chmod,
  chown,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DdpmError, throwIfAborted } from '../errors';
import { isMissing, writeError } from './errors';
import {
  exists,
  foldersOf,
  makeFolder,
  move,
  oneAtATime,
  randomName,
  removeEmpty,
  syncFile,
  syncFolder,
  syncFolders,
  temporaryFor,
} from './folders';
import { requireSpace } from './space';

const STAGE_PREFIX = '.ddpm-save-';
const STAGE_NAME = /^\.ddpm-save-[0-9a-f]{12}$/;

/**
 * Writes a file, replacing the one of that name; until the end the old one stays as it is, also if this throws. A link of
 * that name stays, and what it leads to is replaced; the new file has the old one's mode and, where that may be, its owner.
 *
 * @param write Fills the new file.
 * @throws {DdpmError} `ERR_IO` with the system's reason, and whatever `write` throws. {@link AbortError}.
 */
export async function writeFileAtomic(
  path: string,
  write: (file: FileHandle) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  throwIfAborted(signal);
  let temporary: string | undefined;
  try {
    const before = await statIfThere(path);
    // Renamed over, a pipe or a device would be gone.
    if (before && !before.isFile()) throw new DdpmError('ERR_IO', `${path}: could not be written: it is no plain file`);
    const target = await behindLinks(path);
    temporary = temporaryFor(target);
    const file = await open(temporary, 'wx', before && modeOf(before));
    try {
      await write(file);
      await syncFile(file, path);
    } finally {
      await file.close();
    }
    if (before) await keepAttributes(temporary, before);
    throwIfAborted(signal);
    await move(temporary, target);
    await syncFolder(dirname(target));
  } catch (error) {
    // What went wrong first is what the caller must hear of.
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => {});
    throw writeError(error, path);
  }
}

/** What a file or folder is, behind links; undefined where there is none. */
async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The place that a path leads to, also where links lead to nothing yet. */
async function behindLinks(path: string): Promise<string> {
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined) return path;
  return behindLinks(resolve(await realpath(dirname(path)), target));
}

/** Gives a new file what is not its contents of the one that it replaces. What the system does not allow is left out. */
async function keepAttributes(file: string, before: Stats): Promise<void> {
  const after = await stat(file);
  if (after.uid !== before.uid || after.gid !== before.gid) await chown(file, before.uid, before.gid).catch(() => {});
  // Again, as it was made with what the umask leaves.
  if (modeOf(after) !== modeOf(before)) await chmod(file, modeOf(before)).catch(() => {});
}

function modeOf({ mode }: Stats): number {
  return mode & 0o777;
}

/** A file of a set that belongs together. */
export interface FileToWrite {
  /** Relative to the folder, with `/`. */
  readonly path: string;
  /** How long it will be, at the least; where there is no room for all files of a set, none is begun. */
  readonly bytes?: number;
  /** Writes the file, flushed, to this place. */
  write(path: string): Promise<void>;
}

/**
 * Replaces a set of files in a folder, all or none; the folder is made if need be, and its other files stay untouched.
 *
 * A rename of the whole folder would be simpler, but is no good here: a folder that holds a repository or a user's notes
 * would have to be carried over, and one that is a mount point, a working directory or below a folder that may not be
 * written cannot be renamed. So the new files are completed in a hidden folder inside. Then the old ones move there, the
 * entry first; the new ones move out, the entry last; and the hidden folder goes. An error on the way moves everything
 * back. Killed between the first move and the last, the folder has no entry, so nobody takes the mix for a whole set, and
 * the next call on it begins by moving the old files back.
 *
 * Calls of this process on one path run in the order in which they were made; two processes must not write into one
 * folder at a time.
 *
 * @param files In the order in which they come into place. The last is the entry: without it the others count for nothing.
 * @param stale Other files of the old set, which the new one does not have; relative paths.
 * @throws {DdpmError} `ERR_IO` with the system's reason, and whatever a `write` throws. {@link AbortError}. In each case
 *   the old files are in place.
 */
export async function replaceFiles(
  folder: string,
  files: readonly FileToWrite[],
  options: { stale?: (folder: string) => Promise<string[]>; signal?: AbortSignal } = {},
): Promise<void> {
  const { stale = async () => [], signal } = options;
  // Taken now: the process may have another working directory when it comes to be this call's turn.
  const path = resolve(folder);
  await oneAtATime(path, async () => {
    throwIfAborted(signal);
    let made: string[] = [];
    try {
      made = await makeFolder(path);
      // The names of new folders are in those above.
      for (const one of made) await syncFolder(dirname(one));
      const paths = files.map((file) => file.path);
      await mendFolder(path);
      // Only now: what a killed call had left took room.
      await requireSpace(
        path,
        files.reduce((sum, { bytes = 0 }) => sum + bytes, 0),
      );
      const stage = join(path, STAGE_PREFIX + randomName());
      try {
        await writeStage(stage, files);
        const leaving = [...paths].reverse().concat(await stale(path));
        throwIfAborted(signal);
        await commit(path, stage, paths, leaving);
      } finally {
        await discard(stage);
      }
    } catch (error) {
      await removeEmpty(made);
      throw writeError(error, folder);
    }
  });
}

/** The hidden folders that interrupted calls of {@link replaceFiles} have left; empty where there is no such folder. */
export async function interruptedWrites(folder: string): Promise<string[]> {
  const entries = await readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return entries.filter((entry) => STAGE_NAME.test(entry)).map((entry) => join(folder, entry));
}

/**
 * Where the files of a stage are: `new` before they move into place, `old` what they replace, `done` once all have moved.
 * `list` names the new ones, since who puts a folder back may be writing others.
 */
function placesOf(stage: string): { incoming: string; outgoing: string; done: string; list: string } {
  return {
    incoming: join(stage, 'new'),
    outgoing: join(stage, 'old'),
    done: join(stage, 'done'),
    list: join(stage, 'list.json'),
  };
}

async function writeStage(stage: string, files: readonly FileToWrite[]): Promise<void> {
  const { incoming, list } = placesOf(stage);
  const paths = files.map((file) => file.path);
  await mkdir(stage);
  await mkdir(incoming);
  for (const file of files) {
    await makeFolder(dirname(join(incoming, file.path)));
    try {
      await file.write(join(incoming, file.path));
    } catch (error) {
      // By the time that somebody reads the message, the stage is gone.
      const system = error instanceof DdpmError && error.code === 'ERR_IO' ? error.cause : undefined;
      throw system === undefined ? error : writeError(system, join(dirname(stage), file.path));
    }
  }
  await writeFileAtomic(list, (file) => file.writeFile(JSON.stringify(paths)));
  await syncFolders(incoming, foldersOf(paths));
  await syncFolder(stage);
  await syncFolder(dirname(stage));
}

async function commit(
  folder: string,
  stage: string,
  paths: readonly string[],
  leaving: readonly string[],
): Promise<void> {
  const { incoming, outgoing, done } = placesOf(stage);
  const made: string[] = [];
  try {
    for (const path of foldersOf(paths)) made.push(...(await makeFolder(join(folder, path))));
    for (const path of paths) {
      const before = await statIfThere(join(folder, path));
      if (before?.isFile()) await keepAttributes(join(incoming, path), before);
    }
    await mkdir(outgoing);
    for (const path of leaving) await moveIfThere(path, folder, outgoing);
    await syncFolders(folder, foldersOf(leaving));
    for (const path of paths) await move(join(incoming, path), join(folder, path));
    await syncFolders(folder, foldersOf(paths));
    await move(outgoing, done);
    await syncFolder(stage);
  } catch (error) {
    try {
      await rollBack(folder, stage);
    } catch {
      const text = `${folder}: could not be written nor put back as it was; the old files are in ${outgoing}`;
      throw new DdpmError('ERR_IO', `${text}: ${(error as Error).message}`, { cause: error });
    }
    await removeEmpty(made);
    throw error;
  }
}

/** Puts a folder back as it was before a commit that did not end. May itself be stopped anywhere and done again. */
async function rollBack(folder: string, stage: string): Promise<void> {
  const { incoming, outgoing, list } = placesOf(stage);
  // `old` is there from the first move to the last: without it there is nothing to undo.
  if (!(await exists(outgoing))) return;
  const paths: string[] = JSON.parse(await readFile(list, 'utf8'));
  for (const path of [...paths].reverse()) {
    if (!(await exists(join(incoming, path)))) await moveIfThere(path, folder, incoming);
  }
  // The entry last, as it was the first to go.
  const entry = paths[paths.length - 1];
  const old = (await filesBelow(outgoing)).sort((a, b) => Number(a === entry) - Number(b === entry));
  for (const path of old) await moveIfThere(path, outgoing, folder);
  await syncFolders(folder, foldersOf([...paths, ...old]));
  await rm(outgoing, { recursive: true });
}

/** Removes a stage, unless it holds old files that are still to be moved back. */
async function discard(stage: string): Promise<void> {
  if (await exists(placesOf(stage).outgoing)) return;
  // If it cannot be removed, the next call on the folder will try again.
  await rm(stage, { recursive: true, force: true }).catch(() => {});
}

/** Undoes or clears away what calls that were killed have left. */
async function mendFolder(folder: string): Promise<void> {
  for (const stage of await interruptedWrites(folder)) {
    await rollBack(folder, stage);
    // What is left of it is in nobody's way.
    await rm(stage, { recursive: true, force: true }).catch(() => {});
  }
}

async function moveIfThere(path: string, from: string, to: string): Promise<void> {
  if (!(await exists(join(from, path)))) return;
  await makeFolder(dirname(join(to, path)));
  await move(join(from, path), join(to, path));
}

/** Everything in a folder that is not a folder itself; relative paths. */
async function filesBelow(folder: string, prefix = ''): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const path = prefix + entry.name;
    if (entry.isDirectory()) files.push(...(await filesBelow(folder, `${path}/`)));
    else files.push(path);
  }
  return files;
}
