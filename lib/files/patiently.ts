/** Windows: a file that somebody else holds open for a moment. */
import { setTimeout as pause } from 'node:timers/promises';

/** What Windows says where another program, mostly one that looks for viruses or builds an index, has a file open. */
const HELD = new Set(['EPERM', 'EACCES', 'EBUSY']);

/** Milliseconds before each further try; who holds a file longer than that means it. */
const PAUSES = [10, 20, 50, 100, 200, 400, 800];

/**
 * Renames, links or removes; on Windows again after a while where the file is held. Elsewhere an open file hinders
 * nobody, and the first error is the answer.
 *
 * @param work May be done again after it has failed.
 * @throws The error of the last try.
 */
export async function patiently<T>(work: () => Promise<T>, platform: NodeJS.Platform = process.platform): Promise<T> {
  for (const milliseconds of platform === 'win32' ? PAUSES : []) {
    try {
      return await work();
    } catch (error) {
      if (!HELD.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await pause(milliseconds);
    }
  }
  return work();
}
