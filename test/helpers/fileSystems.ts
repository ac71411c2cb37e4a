/** File systems that refuse: full ones, read-only ones, folders of another user, files that may not grow. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Whether this process may mount file systems: as a rule root on Linux, where it is in no container that forbids it. */
export const mayMount = tryToMount();

function tryToMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-mount-'));
  const mounted = mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder);
  if (mounted) unmount(folder);
  rmdirSync(folder);
  return mounted;
}

/** Does some work while an empty folder is a file system of its own, with room for so many bytes. Where {@link mayMount}. */
export async function onSmallFileSystem<T>(folder: string, bytes: number, work: () => Promise<T>): Promise<T> {
  if (!mount('-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder)) throw new Error(`${folder} could not be mounted`);
  try {
    return await work();
  } finally {
    unmount(folder);
  }
}

/** Does some work while nobody, root included, may write below a folder. Where {@link mayMount}. */
export async function onReadOnlyFileSystem<T>(folder: string, work: () => Promise<T>): Promise<T> {
  if (!mount('--bind', folder, folder)) throw new Error(`${folder} could not be mounted`);
  try {
    if (!mount('-o', 'remount,bind,ro', folder)) throw new Error(`${folder} could not be made read-only`);
    return await work();
  } finally {
    unmount(folder);
  }
}

/**
 * Does some work while the permission bits of a folder keep this process from writing there; root, to whom they say
 * nothing, becomes another user meanwhile.
 */
export async function inForbiddenFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const nobody = 65534;
  const root = process.getuid?.() === 0;
  // That of the test itself is its maker's alone.
  chmodSync(dirname(folder), 0o755);
  chmodSync(folder, 0o555);
  if (root) process.seteuid?.(nobody);
  try {
    return await work();
  } finally {
    if (root) process.seteuid?.(0);
    chmodSync(folder, 0o755);
  }
}

/** Whether letters of both cases are one in folders for temporary files, as a rule on macOS and Windows, or can be in one that is mounted. */
export const foldsCase = findFoldedCase();

function findFoldedCase(): 'here' | 'mounted' | 'nowhere' {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-case-'));
  try {
    if (isCaseInsensitive(folder)) return 'here';
    if (!mountCaseInsensitive(folder)) return 'nowhere';
    const folds = isCaseInsensitive(join(folder, 'folded'));
    unmount(folder);
    return folds ? 'mounted' : 'nowhere';
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function isCaseInsensitive(folder: string): boolean {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'a'), '');
  const found = existsSync(join(folder, 'A'));
  rmSync(join(folder, 'a'));
  return found;
}

/** Linux has folders of that kind below some file systems, from 6.13 on in memory too. */
function mountCaseInsensitive(folder: string): boolean {
  if (!mount('-t', 'tmpfs', '-o', 'casefold,size=64m', 'tmpfs', folder)) return false;
  mkdirSync(join(folder, 'folded'));
  spawnSync('chattr', ['+F', join(folder, 'folded')]);
  return true;
}

/** Does some work in a folder in which letters of both cases are one. Where {@link foldsCase}. */
export async function onCaseInsensitiveFileSystem(
  folder: string,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  if (foldsCase === 'here') return work(folder);
  if (!mountCaseInsensitive(folder)) throw new Error(`${folder} could not be mounted`);
  try {
    await work(join(folder, 'folded'));
  } finally {
    unmount(folder);
  }
}

/** A command that runs another, whose files may be so many bytes long at the most (`EFBIG`), rounded down to 512. */
export function withFileLimit(bytes: number): string[] {
  // The signal that comes with the error would end the process.
  return ['sh', '-c', `trap '' XFSZ; ulimit -f ${Math.floor(bytes / 512)}; exec "$@"`, 'sh'];
}

function mount(...args: string[]): boolean {
  return spawnSync('mount', args).status === 0;
}

function unmount(folder: string): void {
  execFileSync('umount', [folder]);
}
