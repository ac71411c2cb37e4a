/**
 * Contents that are coming in, each in a file of its own that belongs to one call: `<id>.<process>.<random>`, the process
 * being 0 where none works on it. A call that finds one that nobody works on any more takes it by a rename, of which
 * only one can succeed, and goes on from its length.
 *
 * The contents are named by their checksum, so whoever writes to such a file writes the same bytes to the same places.
 * Should a guess at the end of this page be wrong, so that two write to one file, the file is still right.
 */
import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from '../files/errors';

/** Milliseconds without a write after which nobody works on a file any more; more than any pause in a transfer. */
const ABANDONED_AFTER_MS = 3 * 60_000;

/** Milliseconds after which a file is not going to be continued: its revision was left, or has other contents by now. */
const FORGOTTEN_AFTER_MS = 14 * 24 * 60 * 60_000;

const NAME = /^([0-9a-f]{40,64})\.(\d+)\.[0-9a-f]{12}$/;

/**
 * A file to put contents into: one that was left, or an empty one.
 *
 * @param folder Where such files are.
 * @param oid The contents' checksum.
 * @returns Its path; undefined where another call is at work on these contents.
 */
export async function claim(folder: string, oid: string): Promise<string | undefined> {
  const mine = join(folder, nameOf(oid, process.pid));
  const { left, busy } = await partialsOf(folder, oid);
  if (busy.length > 0) return undefined;
  if (!(await takeOver(left, mine))) await (await open(mine, 'wx')).close();
  // Two calls may have come this far at once: the first by name goes on.
  const others = (await partialsOf(folder, oid)).busy.filter((path) => path !== mine);
  if (others.every((path) => path > mine)) return mine;
  await release(mine);
  return undefined;
}

/** Lets the next call go on from here. Where that fails, it will see by the time of the last write that nobody is at work. */
export async function release(path: string): Promise<void> {
  try {
    if ((await stat(path)).size === 0) await rm(path, { force: true });
    else await rename(path, path.replace(/\.\d+(?=\.[0-9a-f]+$)/, '.0'));
  } catch {
    // Gone, as a rule: its contents have their name.
  }
}

/** Removes what nobody has come back to. */
export async function removeForgotten(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!NAME.test(name)) continue;
    const path = join(folder, name);
    if ((await changedAt(path)) < Date.now() - FORGOTTEN_AFTER_MS) await rm(path, { force: true });
  }
}

async function partialsOf(folder: string, oid: string): Promise<{ left: string[]; busy: string[] }> {
  const left: string[] = [];
  const busy: string[] = [];
  for (const name of await readdir(folder)) {
    const [, contents, pid] = NAME.exec(name) ?? [];
    if (contents !== oid) continue;
    const path = join(folder, name);
    ((await isAtWork(path, Number(pid))) ? busy : left).push(path);
  }
  return { left, busy };
}

/** Takes the longest of the files that nobody works on. */
async function takeOver(left: readonly string[], mine: string): Promise<boolean> {
  const sizes = await Promise.all(left.map(async (path) => ({ path, size: await sizeOf(path) })));
  for (const { path } of sizes.sort((a, b) => b.size - a.size)) {
    try {
      // First, so that it is never mine and old.
      await utimes(path, new Date(), new Date());
      await rename(path, mine);
      return true;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return false;
}

async function isAtWork(path: string, pid: number): Promise<boolean> {
  if (pid === 0) return false;
  const changed = await changedAt(path);
  if (changed < Date.now() - ABANDONED_AFTER_MS) return false;
  // In a container a process that was killed and the one that follows often have one number. A second for file systems
  // that count in seconds.
  if (pid === process.pid) return changed >= Date.now() - 1000 * process.uptime() - 1000;
  return isRunning(pid);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function changedAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

function nameOf(oid: string, pid: number): string {
  return `${oid}.${pid}.${randomBytes(6).toString('hex')}`;
}
