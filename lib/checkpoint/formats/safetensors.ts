/** Reading and writing safetensors files piece by piece, so that no call is long and memory stays small. */
import type { FileHandle } from 'node:fs/promises';
import { DdpmError, throwIfAborted } from '../../errors';
import { writeFileAtomic } from '../../files/atomic';
import { openFile, readError } from '../../files/errors';
import {
  buildHeader,
  byteLength,
  HEADER_LENGTH_BYTES,
  MAX_HEADER_LENGTH,
  parseHeader,
  type TensorInfo,
  type TensorShape,
} from './safetensorsHeader';

/** Bytes moved at once: a multiple of every element's size, and well below a millisecond of work. */
export const CHUNK_BYTES = 1024 * 1024;

/** Named tensors that can be read piece by piece. */
export interface TensorSource {
  /** What messages call it: the file. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorShape>;
  /**
   * The bytes of a tensor from front to back, in pieces of whole elements that begin at an even place of their buffer
   * for typed arrays. A piece is the caller's until it asks for the next.
   *
   * @throws {DdpmError} `ERR_CHECKPOINT`: the file has become shorter; `ERR_IO`.
   */
  chunks(name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** An open safetensors file, its header read and checked. */
export class SafetensorsFile implements TensorSource {
  private constructor(
    readonly path: string,
    readonly metadata: ReadonlyMap<string, string>,
    readonly tensors: ReadonlyMap<string, TensorInfo>,
    private readonly file: FileHandle,
    private readonly dataStart: number,
  ) {}

  /**
   * @throws {DdpmError} `ERR_CHECKPOINT`: no such file, or its header is damaged or does not fit its length; `ERR_IO`.
   */
  static async open(path: string): Promise<SafetensorsFile> {
    let file: FileHandle | undefined;
    try {
      file = await openFile(path);
      const { size } = await file.stat();
      const headerLength = await readHeaderLength(file, size, path);
      const headerBytes = new Uint8Array(headerLength);
      await readFully(file, headerBytes, HEADER_LENGTH_BYTES, path);
      const dataStart = HEADER_LENGTH_BYTES + headerLength;
      const { metadata, tensors } = await parseHeader(headerBytes, size - dataStart, path);
      return new SafetensorsFile(path, metadata, tensors, file, dataStart);
    } catch (error) {
      await file?.close();
      throw readError(error, path);
    }
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void> {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new DdpmError('ERR_CHECKPOINT', `${this.path}: no tensor ${JSON.stringify(name)}`);
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, tensor.end - tensor.begin));
    for (let offset = tensor.begin; offset < tensor.end; offset += buffer.length) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, tensor.end - offset));
      await readFully(this.file, chunk, this.dataStart + offset, this.path);
      yield chunk;
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** A tensor to be written. */
export interface TensorToWrite extends TensorShape {
  /** Its bytes from front to back, in pieces of any length; asked for once. */
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * Writes a file as the safetensors library does (same bytes for the same tensors), atomically: see {@link writeFileAtomic}.
 *
 * @throws {DdpmError} `ERR_IO`, and whatever `chunks` throws. {@link AbortError} if the signal fires.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  options: { metadata?: Readonly<Record<string, string>>; signal?: AbortSignal } = {},
): Promise<void> {
  const { metadata = { format: 'pt' }, signal } = options;
  const header = buildHeader(tensors, metadata);
  await writeFileAtomic(
    path,
    async (file) => {
      await file.writeFile(header.bytes);
      for (const tensor of header.tensors) {
        const expected = byteLength(tensor.dtype, tensor.shape);
        let written = 0;
        for await (const chunk of tensor.chunks()) {
          throwIfAborted(signal);
          await file.writeFile(chunk);
          written += chunk.byteLength;
        }
        if (written !== expected) {
          throw new DdpmError('ERR_NATIVE', `tensor '${tensor.name}': expected ${expected} bytes, got ${written}`);
        }
      }
    },
    signal,
  );
}

async function readHeaderLength(file: FileHandle, size: number, path: string): Promise<number> {
  if (size < HEADER_LENGTH_BYTES) {
    throw new DdpmError('ERR_CHECKPOINT', `${path}: expected a safetensors file, got one of ${size} bytes`);
  }
  const bytes = Buffer.alloc(HEADER_LENGTH_BYTES);
  await readFully(file, bytes, 0, path);
  const length = bytes.readBigUInt64LE();
  const limit = Math.min(MAX_HEADER_LENGTH, size - HEADER_LENGTH_BYTES);
  if (length > limit) {
    const expected = `at most ${limit} bytes (the file has ${size})`;
    throw new DdpmError('ERR_CHECKPOINT', `${path}: header length: expected ${expected}, got ${length}`);
  }
  return Number(length);
}

/** Fills the bytes from a place of the file. */
export async function readFully(file: FileHandle, bytes: Uint8Array, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done).catch((error: unknown) => {
      throw readError(error, path);
    });
    if (bytesRead === 0) {
      throw new DdpmError(
        'ERR_CHECKPOINT',
        `${path}: the file ends at byte ${position + done}, in the middle of its data`,
      );
    }
    done += bytesRead;
  }
}
