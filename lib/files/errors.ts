/** Opening files, and the file system's errors as this package's own. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { DdpmError } from '../errors';

/** Opens a file for reading; anything else is refused unopened, since a named pipe would wait for a writer for ever. */
export async function openFile(path: string): Promise<FileHandle> {
  if (!(await stat(path)).isFile()) throw new DdpmError('ERR_CHECKPOINT', `${path}: expected a file`);
  return open(path);
}

/** What to throw where a saved file could not be read; errors that are not the file system's come back as they are. */
export function readError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new DdpmError('ERR_CHECKPOINT', `${path}: ${missing(path)}`, { cause: error });
  }
  return new DdpmError('ERR_IO', `${path}: could not be read: ${reasonOf(error)}`, { cause: error });
}

/**
 * Why there is nothing of a name. One that is not UTF-8 has U+FFFD in place of what JavaScript's strings cannot hold, and
 * no longer leads to its file.
 */
export function missing(path: string, what = 'file'): string {
  return path.includes('\uFFFD')
    ? `the name is not in UTF-8, and cannot be opened: rename the ${what}`
    : `no such ${what}`;
}

/** What to throw where a file or folder could not be written; errors that are not the file system's come back as they are. */
export function writeError(error: unknown, path: string): unknown {
  if (systemCode(error) === undefined) return error;
  return new DdpmError('ERR_IO', `${path}: could not be written: ${reasonOf(error)}`, { cause: error });
}

/** Node's own message says of its permission model nothing but that access was restricted. */
function reasonOf(error: unknown): string {
  const { message, permission, resource } = error as Error & { permission?: string; resource?: string };
  if (systemCode(error) !== 'ERR_ACCESS_DENIED') return message;
  return `Node's permission model forbids it (${permission ?? message}${resource ? ` ${resource}` : ''})`;
}

/** Whether an error says that a file or folder is not there. */
export function isMissing(error: unknown): boolean {
  return systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR';
}

/**
 * `ENOSPC`, `EACCES`, …, and what Node's permission model says; undefined for any other error. Asks for no class: the error
 * may be of another realm.
 */
export function systemCode(error: unknown): string | undefined {
  const { code, syscall } = Object(error) as { code?: unknown; syscall?: unknown };
  if (code === 'ERR_ACCESS_DENIED') return code;
  return typeof code === 'string' && typeof syscall === 'string' ? code : undefined;
}
