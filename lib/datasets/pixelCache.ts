/**
 * Decoded pixels in a file, to be mapped: a head of 4096 bytes (JSON, then spaces), the levels of the images one after
 * the other, and a JSON list of the files that could not be read.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { mapOrdered } from '../concurrency';
import { DdpmError, throwIfAborted } from '../errors';
import { writeFileAtomic } from '../files/atomic';
import { makeFolderFor } from '../files/folders';
import type { SkippedFile } from './dataset';
import type { Target } from './decode';
import { reasonOf } from './files';
import { type Decoded, mapFile, type Shape } from './store';

const FORMAT = 'ddpm-node pixels';
const VERSION = 1;
const HEAD_BYTES = 4096;
const WRITE_BYTES = 1 << 20;
const STATS_AT_ONCE = 16;

interface Head extends Shape {
  format: typeof FORMAT;
  version: number;
  /** What the pixels were made of, and how: see {@link cacheKey}. */
  key: string;
  count: number;
  /** Bytes of the list behind the pixels. */
  skippedBytes: number;
}

/**
 * A digest of all that the pixels depend on: name, size and time of change of each file, the target, and the releases of
 * the decoders.
 */
export async function cacheKey(
  folder: string,
  files: readonly string[],
  target: Target,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  const { height, width, channels, fit, background } = target;
  hash.update(JSON.stringify([VERSION, height, width, channels, fit, background, sharp.versions]));
  const describe = async (file: string) => {
    const found = await stat(join(folder, file)).catch(() => undefined);
    return JSON.stringify([file, found?.size, found?.mtimeMs]);
  };
  for await (const line of mapOrdered(files, STATS_AT_ONCE, describe)) {
    throwIfAborted(signal);
    hash.update(line);
  }
  return hash.digest('hex');
}

/**
 * What a cache file holds; undefined where there is none, or it was made of something else or by another version.
 *
 * @throws {DdpmError} `ERR_DATASET`: there is a file of that name that is no cache, and must not be overwritten.
 */
export async function openCache(path: string, key: string): Promise<Decoded | undefined> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DdpmError('ERR_IO', `cacheFile: cannot read '${path}': ${reasonOf(error)}`, { cause: error });
  }
  try {
    const head = await readHead(file, path);
    if (head.version !== VERSION || head.key !== key) return undefined;
    const pixelBytes = head.count * head.height * head.width * head.channels;
    const { size } = await file.stat();
    if (size !== HEAD_BYTES + pixelBytes + head.skippedBytes) return undefined;
    const list = await read(file, HEAD_BYTES + pixelBytes, head.skippedBytes);
    const skipped = JSON.parse(list.toString('utf8')) as SkippedFile[];
    return { pixels: mapFile(path, head, head.count, HEAD_BYTES), skipped };
  } finally {
    await file.close();
  }
}

async function readHead(file: FileHandle, path: string): Promise<Head> {
  try {
    const head = JSON.parse((await read(file, 0, HEAD_BYTES)).toString('utf8')) as Head;
    if (head.format === FORMAT) return head;
  } catch {
    // Not a head: a folder, or a file of another kind.
  }
  throw new DdpmError('ERR_DATASET', `cacheFile: '${path}' is not a cache of this package, and is left as it is`);
}

async function read(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, position);
  return buffer.subarray(0, bytesRead);
}

/**
 * Makes a cache file, whole or not at all, and opens it.
 *
 * @param fill Hands over the levels of one image after the other, which must not change any more; resolves to the files
 *   that could not be read.
 * @throws {DdpmError} `ERR_IO`: the file cannot be written. And whatever `fill` throws.
 */
export async function writeCache(
  path: string,
  key: string,
  { height, width, channels }: Shape,
  fill: (append: (levels: Uint8Array) => Promise<void>) => Promise<SkippedFile[]>,
): Promise<Decoded> {
  await makeFolderFor(path);
  await writeFileAtomic(path, async (file) => {
    const pixels = new BufferedWriter(file, HEAD_BYTES);
    let count = 0;
    const skipped = await fill((levels) => {
      count++;
      return pixels.write(levels);
    });
    const list = Buffer.from(JSON.stringify(skipped));
    await pixels.write(list);
    await pixels.flush();
    const skippedBytes = list.length;
    const head: Head = { format: FORMAT, version: VERSION, key, height, width, channels, count, skippedBytes };
    await writeAt(file, Buffer.from(JSON.stringify(head).padEnd(HEAD_BYTES)), 0);
  });
  const cache = await openCache(path, key);
  if (cache === undefined) throw new DdpmError('ERR_IO', `cacheFile: '${path}' was changed while it was being written`);
  return cache;
}

/** Writes small pieces to a file in large ones. */
class BufferedWriter {
  readonly #file: FileHandle;
  #position: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(file: FileHandle, position: number) {
    this.#file = file;
    this.#position = position;
  }

  async write(piece: Uint8Array): Promise<void> {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes >= WRITE_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    await writeAt(this.#file, bytes, this.#position);
    this.#position += bytes.length;
  }
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
