/** Folders that are whole or not there at all: filled under a hidden name, flushed, and given their own by one rename. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeError } from './errors';
import { makeFolder, move, randomName, removeEmpty, syncFolder } from './folders';

const STAGE_PREFIX = '.ddpm-new-';
const REMOVED_PREFIX = '.ddpm-old-';
const TEMPORARY_NAME = /^\.ddpm-(new|old)-[0-9a-f]{12}$/;

/**
 * Makes a folder in another, which is made if need be.
 *
 * @param parent An absolute path.
 * @param name Of the new folder; there must be none of this name.
 * @param fill Writes the files, flushed, into the folder that it is given; it flushes the folders that it makes.
 * @throws {DdpmError} `ERR_IO` with the system's reason, and whatever `fill` throws; then nothing is left.
 */
export async function publishFolder(
  parent: string,
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<void> {
  const stage = join(parent, STAGE_PREFIX + randomName());
  let made: string[] = [];
  try {
    made = await makeFolder(parent);
    // The names of new folders are in those above.
    for (const folder of made) await syncFolder(dirname(folder));
    await mkdir(stage);
    await fill(stage);
    await syncFolder(stage);
    await move(stage, join(parent, name));
    await syncFolder(parent);
  } catch (error) {
    // What went wrong first is what the caller must hear of.
    await rm(stage, { recursive: true, force: true }).catch(() => {});
    await removeEmpty(made);
    throw writeError(error, join(parent, name));
  }
}

/** Removes a folder; nobody sees it half removed. */
export async function removeFolder(parent: string, name: string): Promise<void> {
  const removed = join(parent, REMOVED_PREFIX + randomName());
  await move(join(parent, name), removed);
  await rm(removed, { recursive: true, force: true });
}

/** Clears away what calls that were killed have left; what cannot be removed is tried again the next time. */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const entry of await readdir(parent).catch(() => [])) {
    if (TEMPORARY_NAME.test(entry)) await rm(join(parent, entry), { recursive: true, force: true }).catch(() => {});
  }
}
