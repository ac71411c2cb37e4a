/** Fetching one large file over HTTP(S): broken connections are taken up again where they broke, also by a later call. */

import { createWriteStream, writeFileSync } from 'node:fs';
import { readFile, rename, rm, stat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { get } from './proxy.cjs';

const maxRedirects = 5;

/** Milliseconds without a byte before a connection counts as dead. */
const idleTimeout = 60_000;

/** Attempts in a row that may bring nothing new, and the pause after the first; each further pause is twice as long. */
const attempts = 4;
const firstPause = 250;

/** A failure that another attempt may mend. */
class Passing extends Error {}

/**
 * @typedef {object} Options
 * @property {NodeJS.ProcessEnv} env names the proxy
 * @property {(line: string) => void} say gets a line for each tenth that has come
 */

/**
 * Downloads `url` to `file`. Follows redirects. What came of it stays in `<file>.part` until all has come, and is gone on
 * from if it is of the same address and the server says that its content has not changed.
 *
 * @param {URL} url
 * @param {string} file
 * @param {Options} options
 * @returns {Promise<{ resumed: boolean }>} `resumed`: some of it came in an earlier call
 * @throws {Error} in one line: the status, the network's error, or how many bytes came of how many
 */
export async function download(url, file, options) {
  const part = `${file}.part`;
  const before = (await resumable(url, part)).bytes;
  if (before > 0) options.say(`going on from ${megabytes(before)} MB that are here already`);
  let most = before;
  for (let failures = 0; ; ) {
    try {
      await attempt(url, part, options);
      break;
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      const { bytes } = await resumable(url, part);
      failures = bytes > most ? 1 : failures + 1;
      most = Math.max(most, bytes);
      if (failures >= attempts) throw new Error(error.message, { cause: error.cause });
      await sleep(firstPause * 2 ** (failures - 1));
    }
  }
  await rename(part, file);
  await rm(notesOf(part), { force: true });
  return { resumed: before > 0 };
}

/**
 * One connection; appends to `part`, or begins it anew.
 *
 * @param {URL} url
 * @param {string} part
 * @param {Options} options
 */
async function attempt(url, part, { env, say }) {
  const { bytes, validator } = await resumable(url, part);
  /** @type {Record<string, string>} */
  const headers = bytes > 0 ? { range: `bytes=${bytes}-`, 'if-range': validator } : {};
  const response = await request(url, { env, headers }, maxRedirects);
  const { statusCode = 0, headers: told } = response;
  const start = statusCode === 206 ? bytes : 0;
  if (statusCode === 206 && !told['content-range']?.startsWith(`bytes ${bytes}-`)) {
    response.destroy();
    throw new Error(`asked for the rest from byte ${bytes}, the server sends ${told['content-range']}`);
  }
  if (start === 0) {
    // A weak validator does not promise the same bytes.
    const etag = told.etag?.startsWith('W/') ? undefined : told.etag;
    // At once: what has come of an answer that breaks off is lost unless somebody reads it by then.
    writeFileSync(notesOf(part), JSON.stringify({ url: url.href, validator: etag ?? told['last-modified'] ?? null }));
  }
  const total = told['content-length'] === undefined ? undefined : start + Number(told['content-length']);
  let received = start;
  let tenths = Math.floor((received * 10) / (total || 1));
  const count = new Transform({
    transform(chunk, _encoding, done) {
      received += chunk.length;
      if (total && Math.floor((received * 10) / total) > tenths) {
        tenths = Math.floor((received * 10) / total);
        say(`${tenths * 10} % of ${megabytes(total)} MB`);
      }
      done(null, chunk);
    },
  });
  try {
    await pipeline(response, count, createWriteStream(part, { flags: start > 0 ? 'a' : 'w' }));
  } catch (cause) {
    const { message, code, syscall } = /** @type {NodeJS.ErrnoException} */ (cause);
    const where = `the connection broke after ${received} of ${total ?? 'unknown'} bytes (${message})`;
    // A disk that is full stays full.
    if (syscall === 'write' || code === 'ENOSPC') throw cause;
    throw new Passing(where, { cause });
  }
}

/**
 * What is here of this address and can be gone on from.
 *
 * @param {URL} url
 * @param {string} part
 * @returns {Promise<{ bytes: number, validator: string }>}
 */
async function resumable(url, part) {
  try {
    const notes = JSON.parse(await readFile(notesOf(part), 'utf8'));
    if (notes.url === url.href && notes.validator)
      return { bytes: (await stat(part)).size, validator: notes.validator };
  } catch {
    // Nothing that can be used.
  }
  return { bytes: 0, validator: '' };
}

/** @param {string} part @returns {string} where from it is, and in which state of the server's */
function notesOf(part) {
  return `${part}.json`;
}

/**
 * @param {URL} url
 * @param {{ env: NodeJS.ProcessEnv, headers: Record<string, string> }} options
 * @param {number} redirects how many more may follow
 * @returns {Promise<import('node:http').IncomingMessage>} an answer with status 200 or 206
 */
async function request(url, options, redirects) {
  const response = await get(url, { ...options, idleTimeout }).catch((cause) => {
    throw new Passing(cause.message || cause.code, { cause });
  });
  const { statusCode = 0, statusMessage, headers } = response;
  if (statusCode === 200 || (statusCode === 206 && options.headers.range !== undefined)) return response;
  response.destroy();
  if (statusCode >= 300 && statusCode < 400 && headers.location) {
    if (redirects === 0) throw new Error(`more than ${maxRedirects} redirects`);
    return request(new URL(headers.location, url), options, redirects - 1);
  }
  const why = `HTTP ${statusCode} ${statusMessage}`;
  throw statusCode === 408 || statusCode === 429 || statusCode >= 500 ? new Passing(why) : new Error(why);
}

/** @param {number} bytes */
function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
