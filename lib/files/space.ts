/** Room on a disk. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DdpmError } from '../errors';
import { isMissing } from './errors';

/**
 * Checks that there is room before anything is written: found out in the middle, the disk would have been filled for
 * everybody else. Says nothing where the file system does not tell what is free; writing may fail for want of room all
 * the same.
 *
 * @param folder Where to; may be missing yet.
 * @throws {DdpmError} `ERR_IO`.
 */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free === undefined || free >= bytes) return;
  throw new DdpmError('ERR_IO', `${folder}: could not be written: ENOSPC: ${bytes} bytes are needed, ${free} are free`);
}

async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { blocks, bavail, bfree, bsize } = await statfs(folder);
    // Some file systems, such as those over a network, give zeros.
    if (blocks === 0) return undefined;
    // The last blocks are kept for the system's own user.
    return (process.getuid?.() === 0 ? bfree : bavail) * bsize;
  } catch (error) {
    if (isMissing(error) && dirname(folder) !== folder) return freeBytes(dirname(folder));
    return undefined;
  }
}
