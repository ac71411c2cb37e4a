/** Work that opens files, where no more may be open for the moment. */
import { setTimeout as pause } from 'node:timers/promises';
import { DdpmError, throwIfAborted } from '../errors';

/** No descriptor is left to the process, or to the machine. */
const NONE_LEFT = new Set(['EMFILE', 'ENFILE']);

/** Milliseconds before each further try: ten seconds in all. */
const PAUSES = [10, 20, 50, 100, 200, 400, 800, 1600, 3000, 3820];

/**
 * Opens and reads; again after a while where too many files are open. That says nothing of the file, and mostly passes.
 *
 * @param work May be done again after it has failed.
 * @throws {DdpmError} `ERR_IO`: it has not passed. Whatever else `work` throws. {@link AbortError}.
 */
export async function whenFree<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await work();
    } catch (error) {
      if (!isNoneLeft(error)) throw error;
      if (i === PAUSES.length) {
        const text = `Too many files are open, for ten seconds already: ${(error as Error).message}`;
        throw new DdpmError('ERR_IO', text, { cause: error });
      }
      await pause(PAUSES[i]);
      throwIfAborted(signal);
    }
  }
}

/** Whether too many files were open, by the system's error or one of ours that has it as its cause. */
export function isNoneLeft(error: unknown): boolean {
  const { code, cause } = Object(error) as { code?: unknown; cause?: unknown };
  return NONE_LEFT.has(String(code)) || (cause !== undefined && isNoneLeft(cause));
}
