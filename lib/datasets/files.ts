/** Files and folders of pictures, and the words for what is wrong with them. */
import { readFile, stat } from 'node:fs/promises';
import { AbortError, DdpmError } from '../errors';
import { missing } from '../files/errors';
import { whenFree } from '../files/whenFree';

/** The first line of an error's message; of the file system's, only the reason. */
export function reasonOf(error: unknown, what?: 'file' | 'folder'): string {
  const { code, syscall, message, path } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return message.split('\n')[0];
  if (code === 'ENOENT' && path?.includes('\uFFFD')) return missing(path, what);
  return message.replace(`${code}: `, '').replace(new RegExp(`, ${syscall}\\b.*$`, 's'), '');
}

/** What libvips and the decoders below it say where memory is short. */
const NO_MEMORY = /out of memory|insufficient memory|memory allocation|(cannot|unable to) allocate/i;

/** Whether an error tells of the machine as it is now, and not of what is in a file: it may be gone the next time. */
export function mayPass(error: unknown): boolean {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && syscall !== undefined) || NO_MEMORY.test(message);
}

/** `ERR_DATASET` for a file or folder that could not be read; what is an error of this package already stays. */
export function unreadable(path: string, error: unknown): unknown {
  if (error instanceof DdpmError || error instanceof AbortError) return error;
  return new DdpmError('ERR_DATASET', `Cannot read '${path}': ${reasonOf(error)}`, { cause: error });
}

/** @throws {DdpmError} `ERR_DATASET`: there is nothing of that name. */
export async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch((error) => {
    throw unreadable(path, error);
  });
  return found.isDirectory();
}

/** @throws {DdpmError} `ERR_DATASET`: the file cannot be read. */
export async function readWhole(path: string): Promise<Buffer> {
  return whenFree(() => readFile(path)).catch((error) => {
    throw unreadable(path, error);
  });
}
