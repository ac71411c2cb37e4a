/** One process at a time, between processes of one machine and those that share a folder over a network. */

import { randomUUID } from 'node:crypto';
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** Who holds a lock touches its file this often; after `abandonedAfter` without that nobody holds it. Milliseconds. */
const heartbeat = 5_000;
const abandonedAfter = 60_000;

/** Between two looks at a lock that another process holds. */
const pollEvery = 200;

/** @typedef {{ token: string, pid?: number, host?: string, age: number }} Holder */

/**
 * Does `work` while this process alone holds the lock. Waits for a holder that is at work; one that was killed is told
 * by its process number, or, on another machine, by its silence.
 *
 * @template T
 * @param {string} file made for the time of the work
 * @param {(line: string) => void} say told once if there is somebody to wait for
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, say, work) {
  const token = randomUUID();
  let waiting = false;
  while (!(await take(file, token))) {
    const holder = await readHolder(file);
    if (holder === undefined) continue;
    if (isAbandoned(holder)) {
      await remove(file, holder);
      continue;
    }
    if (!waiting) say(`process ${holder.pid} on ${holder.host} is setting LibTorch up too; waiting until it has ended`);
    waiting = true;
    await sleep(pollEvery);
  }
  const timer = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => {});
  }, heartbeat);
  timer.unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if ((await readHolder(file))?.token === token) await rm(file, { force: true });
  }
}

/**
 * @param {string} file
 * @param {string} token
 * @returns {Promise<boolean>} whether it is ours now
 */
async function take(file, token) {
  try {
    const handle = await open(file, 'wx');
    try {
      await handle.writeFile(JSON.stringify({ token, pid: process.pid, host: hostname() }));
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * @param {string} file
 * @returns {Promise<Holder | undefined>} undefined: nobody
 */
async function readHolder(file) {
  try {
    const { mtimeMs } = await stat(file);
    const text = await readFile(file, 'utf8');
    // Empty where its maker has not come to write it yet, or was killed before.
    const { token, pid, host } = text === '' ? { token: `empty-${mtimeMs}` } : JSON.parse(text);
    return { token, pid, host, age: Date.now() - mtimeMs };
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** @param {Holder} holder */
function isAbandoned({ pid, host, age }) {
  if (age > abandonedAfter) return true;
  if (pid === undefined || host !== hostname()) return false;
  // In a container, who was killed and who comes after often have one number.
  return pid === process.pid || !isRunning(pid);
}

/** @param {number} pid */
function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * Removes an abandoned lock, and never one that another process has taken since it was looked at: of all that want to
 * remove it, one may at a time, and looks again.
 *
 * @param {string} file
 * @param {Holder} abandoned
 */
async function remove(file, abandoned) {
  const guard = `${file}.${abandoned.token}`;
  if (!(await take(guard, abandoned.token))) {
    const age = (await readHolder(guard))?.age ?? 0;
    if (age > abandonedAfter) await rm(guard, { force: true });
    return sleep(pollEvery);
  }
  try {
    if ((await readHolder(file))?.token === abandoned.token) await rm(file, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}
