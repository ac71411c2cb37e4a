/** Room on a disk. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DdpmError } from '../errors';
import { isMissing } from './errors';

/**
 * Checks that there is room before anything is written.
 *
 * @param folder Where to; may be missing yet.
 * @throws {DdpmError} `ERR_IO`.
 */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free === undefined || free >= bytes) return;
  throw new DdpmError('ERR_IO', `${folder}: no space: ${bytes} bytes are needed, ${free} are free`);
}

async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if (isMissing(error) && dirname(folder) !== folder) return freeBytes(dirname(folder));
    return undefined;
  }
}
