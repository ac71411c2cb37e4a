/** Bringing the contents of one file into the cache. */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DdpmError, throwIfAborted } from '../errors';
import { isMissing, writeError } from '../files/errors';
import { syncFile, syncFolder } from '../files/folders';
import { isWhole, type RepositoryCache } from './cache';
import { type RemoteFile, requestFile } from './client';
import { chunksOf, type Endpoint, hubError, watched } from './http';
import { claim, release } from './partial';
import { Passing, retrying, sleep } from './retry';

/** How often to look whether another call has finished. */
const POLL_MS = 200;

/** An attempt that brought as much is no failure. */
const PROGRESS_BYTES = 1024 * 1024;

/** Called with the bytes that are here. */
type OnBytes = (bytes: number) => Promise<void>;

/**
 * Fetches a file, unless it is there; what an earlier call has left is continued. The contents get their name when size
 * and checksum are as the hub lists them, and are flushed.
 *
 * Whether a part belongs to the whole is told by the checksum in the part's name, not by an ETag: the hub's and that of
 * the storage which it redirects to differ, and a condition on either would have the other start afresh.
 *
 * @throws {DdpmError} `ERR_HUB`: the contents are not what the hub lists; `ERR_NETWORK`: the transfer broke off several
 *   times in a row; `ERR_IO`. {@link AbortError}. Except for wrong contents, what has come is kept for the next call.
 */
export async function fetchBlob(
  endpoint: Endpoint,
  cache: RepositoryCache,
  commit: string,
  file: RemoteFile,
  onBytes: OnBytes,
): Promise<void> {
  const target = cache.blob(file);
  try {
    while (!(await isWhole(target, file))) {
      throwIfAborted(endpoint.signal);
      const partial = await claim(cache.partials, file.oid);
      if (partial === undefined) {
        await sleep(POLL_MS, endpoint.signal);
        continue;
      }
      try {
        await complete(endpoint, commit, file, partial, onBytes);
        // Missing where another machine, whose processes cannot be seen from here, took it for left; it has the contents then.
        await rename(partial, target).catch(passMissing);
      } finally {
        await release(partial);
      }
      await syncFolder(dirname(target));
    }
  } catch (error) {
    throw writeError(error, target);
  }
}

/** Fills a partial file, and flushes it. One whose contents are wrong is removed. */
async function complete(
  endpoint: Endpoint,
  commit: string,
  file: RemoteFile,
  path: string,
  onBytes: OnBytes,
): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    const inOne = await fill(endpoint, commit, file, handle, onBytes);
    if (await isRight(handle, file, endpoint.signal)) return await syncFile(handle, path);
    // One of the pieces may be of other contents.
    if (!inOne) {
      await handle.truncate(0);
      await fill(endpoint, commit, file, handle, onBytes);
      if (await isRight(handle, file, endpoint.signal)) return await syncFile(handle, path);
    }
    await rm(path, { force: true });
    throw hubError(endpoint, `sends ${file.path} with other contents than it lists (checksum ${file.oid})`);
  } finally {
    await handle.close();
  }
}

/**
 * Brings a file up to its size, in as many attempts as it takes.
 *
 * @returns Whether all of it came in one piece, now.
 */
async function fill(
  endpoint: Endpoint,
  commit: string,
  file: RemoteFile,
  handle: FileHandle,
  onBytes: OnBytes,
): Promise<boolean> {
  let length = (await handle.stat()).size;
  if (length > file.size) {
    await handle.truncate(0);
    length = 0;
  }
  const nothing = length === 0;
  let attempts = 0;
  await retrying(endpoint.signal, async () => {
    if (length === file.size) return;
    const before = length;
    attempts++;
    try {
      await watched(endpoint, async (signal, alive) => {
        const response = await requestFile(endpoint, commit, file, length, signal);
        if (response.status === 416) {
          // Should not be, short of the size; there may be something on the way that knows no ranges.
          length = 0;
          throw new Passing(hubError(endpoint, `sends nothing of ${file.path} from byte ${before} on`));
        }
        let position = startOf(response, length, file.size);
        if (position === undefined) throw hubError(endpoint, `sends another part of ${file.path} than was asked for`);
        for await (const chunk of chunksOf(endpoint, response, alive)) {
          if (position + chunk.length > file.size) throw hubError(endpoint, `sends more of ${file.path} than it lists`);
          await writeAll(handle, chunk, position);
          position += chunk.length;
          length = Math.max(length, position);
          await onBytes(length);
        }
      });
      if (length < file.size) throw new Passing(brokenOff(endpoint, file, length));
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      throw new Passing(error.reason, error.pause, length - before >= PROGRESS_BYTES);
    }
  });
  return nothing && attempts === 1;
}

/** The place of an answer's first byte; undefined where it is not what was asked for. */
function startOf(response: Response, asked: number, size: number): number | undefined {
  if (response.status !== 206) return response.status === 200 ? 0 : undefined;
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  return Number(first) === asked && (total === '*' || Number(total) === size) ? asked : undefined;
}

function brokenOff({ repository, hubUrl }: Endpoint, { path, size }: RemoteFile, length: number): DdpmError {
  const text = `${repository}: ${hubUrl} ended ${path} after ${length} of ${size} bytes`;
  return new DdpmError('ERR_NETWORK', text);
}

async function isRight(
  handle: FileHandle,
  { size, oid }: RemoteFile,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const hash = oid.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  const buffer = Buffer.allocUnsafe(256 * 1024);
  for (let position = 0; position < size; ) {
    throwIfAborted(signal);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return false;
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
  return hash.digest('hex') === oid;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

function passMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}
