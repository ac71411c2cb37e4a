/**
 * The header of a safetensors file: 8 bytes with its length (unsigned, little-endian), then JSON that gives the dtype,
 * the shape and the place of each tensor in the data that follows. A header comes from anywhere, so nothing in it is
 * trusted: it is read by a parser of its own, which knows this one grammar, sees keys that are given twice (JSON.parse
 * keeps the last), and holds no more than the names and numbers that it was given.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DdpmError } from '../../errors';
import { bytesPerElement, type Dtype, dtypes } from './dtypes';
import { quote } from './names';

/** Bytes of the length that stands before the header; the header fills up to a multiple of it, too. */
export const HEADER_LENGTH_BYTES = 8;

/** The format's own limit, in bytes. */
export const MAX_HEADER_LENGTH = 100_000_000;

const METADATA_KEY = '__metadata__';

/** Tensors parsed before other work gets its turn. */
const TENSORS_A_TURN = 1024;

/** What a tensor is, apart from its place. */
export interface TensorShape {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** A tensor in a file: its bytes are [begin, end) of the data, which starts where the header ends. */
export interface TensorInfo extends TensorShape {
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/**
 * Reads a header and checks it: the tensors must fill the data exactly, in any order, without gaps or overlaps, each
 * with the length that its shape and dtype give.
 *
 * @param bytes The JSON.
 * @param dataLength Bytes of the file after the header.
 * @param file What messages call the file.
 * @throws {DdpmError} `ERR_CHECKPOINT`.
 */
export async function parseHeader(bytes: Uint8Array, dataLength: number, file: string): Promise<SafetensorsHeader> {
  const scanner = new Scanner(decode(bytes, file), file);
  const metadata = new Map<string, string>();
  const tensors: TensorInfo[] = [];
  for (const name of scanner.keys('the header')) {
    if (name === METADATA_KEY) {
      for (const key of scanner.keys(METADATA_KEY)) metadata.set(key, scanner.string());
    } else {
      tensors.push(readTensor(scanner, name, file));
      if (tensors.length % TENSORS_A_TURN === 0) await nextTurn();
    }
  }
  scanner.end();
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkPlaces(tensors, dataLength, file);
  return { metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

/**
 * The header that the safetensors library writes for these tensors, with the length before it; the tensors come back in
 * the order in which their data must follow: the widest dtype first, then by name.
 */
export function buildHeader<T extends TensorShape>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>>,
): { bytes: Uint8Array; tensors: T[] } {
  const ordered = [...tensors].sort(
    (a, b) =>
      dtypes.indexOf(b.dtype) - dtypes.indexOf(a.dtype) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
  const entries = [`${JSON.stringify(METADATA_KEY)}:${JSON.stringify(metadata)}`];
  let offset = 0;
  for (const { name, dtype, shape } of ordered) {
    const end = offset + byteLength(dtype, shape);
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const json = Buffer.from(`{${entries.join(',')}}`);
  const length = Math.ceil(json.length / HEADER_LENGTH_BYTES) * HEADER_LENGTH_BYTES;
  const bytes = Buffer.alloc(HEADER_LENGTH_BYTES + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  json.copy(bytes, HEADER_LENGTH_BYTES);
  return { bytes, tensors: ordered };
}

/** Bytes of a tensor; NaN where a product is beyond 2^53 − 1. */
export function byteLength(dtype: Dtype, shape: readonly number[]): number {
  let length = bytesPerElement[dtype];
  for (const dimension of shape) {
    length *= dimension;
    if (!Number.isSafeInteger(length)) return Number.NaN;
  }
  return length;
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new DdpmError('ERR_CHECKPOINT', `${file}: header: expected UTF-8 text`, { cause: error });
  }
}

function readTensor(scanner: Scanner, name: string, file: string): TensorInfo {
  const where = tensorText(name);
  let dtype: Dtype | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  for (const key of scanner.keys(where)) {
    if (key === 'dtype') {
      const given = scanner.string();
      dtype = dtypes.find((known) => known === given);
      if (!dtype) throw damaged(file, `${where}: dtype: expected one of ${dtypes.join(', ')}, got ${quote(given)}`);
    } else if (key === 'shape') {
      shape = scanner.integers();
    } else if (key === 'data_offsets') {
      offsets = scanner.integers();
      if (offsets.length !== 2) {
        throw damaged(file, `${where}: data_offsets: expected two integers, got ${offsets.length}`);
      }
    } else {
      throw damaged(file, `${where}: expected the keys dtype, shape and data_offsets, got ${quote(key)}`);
    }
  }
  if (!dtype || !shape || !offsets) {
    const missing = Object.entries({ dtype, shape, data_offsets: offsets }).filter(([, value]) => !value);
    throw damaged(file, `${where}: ${missing.map(([key]) => key).join(', ')} missing`);
  }
  return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
}

function checkPlaces(tensors: readonly TensorInfo[], dataLength: number, file: string): void {
  let offset = 0;
  for (const { name, dtype, shape, begin, end } of tensors) {
    const where = tensorText(name);
    const length = byteLength(dtype, shape);
    if (Number.isNaN(length)) {
      throw damaged(file, `${where}: shape: expected fewer than 2^53 bytes, got [${shape.join(', ')}] of ${dtype}`);
    }
    if (begin !== offset || end - begin !== length) {
      const expected = `[${offset}, ${offset + length}] (${dtype} [${shape.join(', ')}], right after the tensor before)`;
      throw damaged(file, `${where}: data_offsets: expected ${expected}, got [${begin}, ${end}]`);
    }
    if (end > dataLength) {
      throw damaged(
        file,
        `${where}: the file ends before the tensor does: expected ${end} bytes of data, got ${dataLength}`,
      );
    }
    offset = end;
  }
  if (offset !== dataLength) {
    throw damaged(file, `expected ${offset} bytes of data after the header, got ${dataLength}`);
  }
}

/** Reads the part of JSON that headers are made of, from front to back. */
class Scanner {
  private position = 0;

  constructor(
    private readonly text: string,
    private readonly file: string,
  ) {}

  /** The keys of the object that begins here, each once; the caller reads a key's value before it asks for the next. */
  *keys(what: string): Generator<string, void> {
    this.expect('{');
    if (this.accept('}')) return;
    const seen = new Set<string>();
    do {
      const key = this.string();
      if (seen.has(key)) throw damaged(this.file, `${what}: the key ${quote(key)} is given twice`);
      seen.add(key);
      this.expect(':');
      yield key;
    } while (this.accept(','));
    this.expect('}');
  }

  string(): string {
    this.expect('"');
    const { text } = this;
    const begin = this.position;
    let end = begin;
    let escaped = false;
    for (; text[end] !== '"'; end++) {
      if (end >= text.length || text.charCodeAt(end) < 0x20) throw this.unexpected('a string');
      if (text[end] === '\\') {
        escaped = true;
        end++;
      }
    }
    this.position = end + 1;
    if (!escaped) return text.slice(begin, end);
    try {
      return JSON.parse(text.slice(begin - 1, end + 1)) as string;
    } catch {
      this.position = begin;
      throw this.unexpected('a string');
    }
  }

  /** An array of integers from 0 to 2^53 − 1. */
  integers(): number[] {
    const integers: number[] = [];
    this.expect('[');
    if (this.accept(']')) return integers;
    do integers.push(this.integer());
    while (this.accept(','));
    this.expect(']');
    return integers;
  }

  end(): void {
    this.skipSpace();
    if (this.position < this.text.length) throw this.unexpected('the end of the header');
  }

  private integer(): number {
    this.skipSpace();
    const begin = this.position;
    while (isDigit(this.text.charCodeAt(this.position))) this.position++;
    const digits = this.text.slice(begin, this.position);
    const value = Number(digits);
    if (digits === '' || (digits[0] === '0' && digits.length > 1) || !Number.isSafeInteger(value)) {
      this.position = begin;
      throw this.unexpected('an integer from 0 to 2^53 − 1');
    }
    return value;
  }

  private accept(character: string): boolean {
    this.skipSpace();
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private expect(character: string): void {
    if (!this.accept(character)) throw this.unexpected(`'${character}'`);
  }

  private skipSpace(): void {
    while (isSpace(this.text.charCodeAt(this.position))) this.position++;
  }

  private unexpected(expected: string): DdpmError {
    const found =
      this.position < this.text.length ? quote(this.text.slice(this.position, this.position + 12)) : 'its end';
    return damaged(this.file, `header, character ${this.position}: expected ${expected}, got ${found}`);
  }
}

const isDigit = (code: number) => code >= 0x30 && code <= 0x39;
const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

function tensorText(name: string): string {
  return `tensor ${quote(name)}`;
}

function damaged(file: string, what: string): DdpmError {
  return new DdpmError('ERR_CHECKPOINT', `${file}: ${what}`);
}
