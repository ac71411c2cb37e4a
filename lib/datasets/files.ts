/** Files and folders of pictures, and the words for what is wrong with them. */
import { readFile, stat } from 'node:fs/promises';
import { DdpmError } from '../errors';
import { missing } from '../files/errors';

/** The first line of an error's message; of the file system's, only the reason. */
export function reasonOf(error: unknown): string {
  const { code, syscall, message, path } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return message.split('\n')[0];
  if (code === 'ENOENT' && path?.includes('\uFFFD')) return missing(path);
  return message.replace(`${code}: `, '').replace(new RegExp(`, ${syscall}\\b.*$`, 's'), '');
}

/** `ERR_DATASET` for a file or folder that could not be read. */
export function unreadable(path: string, error: unknown): DdpmError {
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
  return readFile(path).catch((error) => {
    throw unreadable(path, error);
  });
}
