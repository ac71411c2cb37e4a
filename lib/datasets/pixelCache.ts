/**
 * Decoded pixels in a file, to be mapped: a head of 4096 bytes (JSON, then spaces), the levels of the images one after
 * the other, and a JSON object of the files that could not be read and of those that had to be hashed.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, realpath, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { mapOrdered, pacer } from '../concurrency';
import { DdpmError, throwIfAborted } from '../errors';
import { writeFileAtomic } from '../files/atomic';
import { makeFolderFor } from '../files/folders';
import { whenFree } from '../files/whenFree';
import { readPicture, type Target } from './decode';
import { mayPass, reasonOf } from './files';
import { type Decoded, mapFile, type Shape, type UnreadFile } from './store';

const FORMAT = 'ddpm-node pixels';
const VERSION = 2;
const HEAD_BYTES = 4096;
const WRITE_BYTES = 1 << 20;
const HASH_BYTES = 1 << 20;
const FILES_AT_ONCE = 16;

/** The clocks of file systems tick in up to two seconds: a file may change twice within a tick, and look the same. */
const TICK_MS = 2000;

/** File systems that may not keep when a file was changed, by Linux's numbers: FAT, exFAT, FUSE. */
const FORGETFUL = new Set([0x4d44, 0x2011bab0, 0x65735546]);

interface Head extends Shape {
  format: typeof FORMAT;
  version: number;
  /** What the pixels were made of, and how: see {@link Origin}. */
  key: string;
  count: number;
  /** Bytes of the {@link Findings} behind the pixels. */
  findingsBytes: number;
}

/** What decoding has found out, beside the pixels. */
export interface Findings {
  skipped: UnreadFile[];
  /** SHA-256 of the files that the origin could not vouch for. */
  hashes: { file: string; sha256: string }[];
}

/** What pixels are made of. */
export interface Origin {
  /**
   * A digest of all that the pixels depend on: the folder's own path; name, size, number and times of each file; the target;
   * the releases of the decoders.
   */
  key: string;
  /** Files that could become others without any of that telling: their contents have to be compared. */
  unsettled: ReadonlySet<string>;
}

/** Looks at all files, but not into them. */
export async function originOf(
  folder: string,
  files: readonly string[],
  target: Target,
  signal: AbortSignal | undefined,
): Promise<Origin> {
  const hash = createHash('sha256');
  const { height, width, channels, fit, background } = target;
  hash.update(JSON.stringify([VERSION, height, width, channels, fit, background, sharp.versions]));
  hash.update(await realpath(folder));
  const forgetful = await statfs(folder).then(
    ({ type }) => process.platform === 'linux' && FORGETFUL.has(type),
    () => false,
  );
  const settledBefore = BigInt(Date.now() - TICK_MS) * 1_000_000n;
  const describe = async (file: string) => {
    const found = await stat(join(folder, file), { bigint: true }).catch(() => undefined);
    if (found === undefined) return { file, line: JSON.stringify([file]), settled: true };
    const { size, ino, mtimeNs, ctimeNs } = found;
    const settled = !forgetful && ino !== 0n && ctimeNs > 0n && ctimeNs < settledBefore;
    return { file, line: JSON.stringify([file, ...[size, ino, mtimeNs, ctimeNs].map(String)]), settled };
  };
  const unsettled = new Set<string>();
  for await (const { file, line, settled } of mapOrdered(files, FILES_AT_ONCE, describe)) {
    throwIfAborted(signal);
    hash.update(line);
    if (!settled) unsettled.add(file);
  }
  return { key: hash.digest('hex'), unsettled };
}

/** SHA-256, in hexadecimal. */
export async function hashOf(bytes: Buffer): Promise<string> {
  const hash = createHash('sha256');
  const pause = pacer();
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    hash.update(bytes.subarray(at, at + HASH_BYTES));
    await pause();
  }
  return hash.digest('hex');
}

/**
 * What a cache file holds; undefined where there is none, or it was made of something else, by another version, or without
 * a file that can be read now.
 *
 * @param folder That of the pictures.
 * @throws {DdpmError} `ERR_DATASET`: there is a file of that name that is no cache, and must not be overwritten. `ERR_IO`.
 */
export async function openCache(
  path: string,
  folder: string,
  { key }: Origin,
  signal: AbortSignal | undefined,
): Promise<Decoded | undefined> {
  const stored = await readCache(path, key);
  if (stored === undefined) return undefined;
  const { skipped, hashes } = stored.findings;
  const isSame = async ({ file, sha256 }: Findings['hashes'][number]) =>
    (await readPicture(join(folder, file), signal).then(hashOf, () => undefined)) === sha256;
  for await (const same of mapOrdered(hashes, FILES_AT_ONCE, isSame)) {
    throwIfAborted(signal);
    if (!same) return undefined;
  }
  const still = mapOrdered(skipped, FILES_AT_ONCE, (file) => unreadStill(folder, file, signal));
  const unread: UnreadFile[] = [];
  for await (const file of still) {
    throwIfAborted(signal);
    if (file === undefined) return undefined;
    unread.push(file);
  }
  return { pixels: mapFile(path, stored.head, stored.head.count, HEAD_BYTES), skipped: unread };
}

/** A file that could not be read, as it is now: faults of its content stay. Undefined where it is another thing by now. */
async function unreadStill(
  folder: string,
  file: UnreadFile,
  signal: AbortSignal | undefined,
): Promise<UnreadFile | undefined> {
  if (!file.mayPass) return file;
  try {
    await readPicture(join(folder, file.file), signal);
    return undefined;
  } catch (error) {
    return mayPass(error) ? { ...file, reason: reasonOf(error) } : undefined;
  }
}

async function readCache(path: string, key: string): Promise<{ head: Head; findings: Findings } | undefined> {
  let file: FileHandle;
  try {
    file = await whenFree(() => open(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DdpmError('ERR_IO', `cacheFile: cannot read '${path}': ${reasonOf(error)}`, { cause: error });
  }
  try {
    const head = await readHead(file, path);
    if (head.version !== VERSION || head.key !== key) return undefined;
    const pixelBytes = head.count * head.height * head.width * head.channels;
    const { size } = await file.stat();
    if (size !== HEAD_BYTES + pixelBytes + head.findingsBytes) return undefined;
    const text = await read(file, HEAD_BYTES + pixelBytes, head.findingsBytes);
    return { head, findings: JSON.parse(text.toString('utf8')) as Findings };
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
 * @param fill Hands over the levels of one image after the other, which must not change any more; resolves to what was
 *   found out on the way.
 * @throws {DdpmError} `ERR_IO`: the file cannot be written. And whatever `fill` throws.
 */
export async function writeCache(
  path: string,
  { key }: Origin,
  { height, width, channels }: Shape,
  fill: (append: (levels: Uint8Array) => Promise<void>) => Promise<Findings>,
): Promise<Decoded> {
  await makeFolderFor(path);
  await writeFileAtomic(path, async (file) => {
    const pixels = new BufferedWriter(file, HEAD_BYTES);
    let count = 0;
    const findings = await fill((levels) => {
      count++;
      return pixels.write(levels);
    });
    const text = Buffer.from(JSON.stringify(findings));
    await pixels.write(text);
    await pixels.flush();
    const findingsBytes = text.length;
    const head: Head = { format: FORMAT, version: VERSION, key, height, width, channels, count, findingsBytes };
    await writeAt(file, Buffer.from(JSON.stringify(head).padEnd(HEAD_BYTES)), 0);
  });
  const written = await readCache(path, key);
  if (written === undefined)
    throw new DdpmError('ERR_IO', `cacheFile: '${path}' was changed while it was being written`);
  return { pixels: mapFile(path, written.head, written.head.count, HEAD_BYTES), skipped: written.findings.skipped };
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
