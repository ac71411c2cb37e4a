/** State dicts as PyTorch saves them (`.bin`): the form of the diffusion models that were published in 2022. */
import type { FileHandle } from 'node:fs/promises';
import { pacer } from '../../concurrency';
import { DdpmError } from '../../errors';
import { openFile, readError } from '../../files/errors';
import { bytesPerElement, type Dtype } from './dtypes';
import { quote } from './names';
import { type PickledStorage, type PickledTensor, readStateDict } from './pickle';
import { CHUNK_BYTES, readFully, type TensorSource } from './safetensors';
import { byteLength, type TensorShape } from './safetensorsHeader';
import { readTorchRecords, type TorchRecord, type TorchRecords } from './torchArchive';

/** The pickle of a thousand tensors takes a quarter of a megabyte. */
const MAX_PICKLE_BYTES = 16 * 1024 * 1024;

const storageTypes: Readonly<Record<string, Dtype>> = {
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  LongStorage: 'I64',
};

/** How a zip file begins. */
const ZIP = [0x50, 0x4b, 0x03, 0x04];

/** How the files of PyTorch before 1.6 begin: a pickle of one long number. */
const LEGACY = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9];

interface Place {
  readonly tensor: PickledTensor;
  readonly record: TorchRecord;
}

/** An open file of `torch.save` that holds a state dict, its pickle read and checked. */
export class TorchFile implements TensorSource {
  private constructor(
    readonly path: string,
    readonly tensors: ReadonlyMap<string, TensorShape>,
    private readonly places: ReadonlyMap<string, Place>,
    private readonly file: FileHandle,
  ) {}

  /**
   * @throws {DdpmError} `ERR_CHECKPOINT`: no such file, it is damaged, or it holds something else than a state dict of plain
   *   tensors; `ERR_IO`.
   */
  static async open(path: string): Promise<TorchFile> {
    let file: FileHandle | undefined;
    try {
      file = await openFile(path);
      const { size } = await file.stat();
      const convert = howToConvert(path);
      await checkKind(file, size, path, convert);
      const records = await readTorchRecords(file, size, path, convert);
      await checkByteOrder(file, records, path, convert);
      const pickle = await readRecord(file, records.get('data.pkl') as TorchRecord, MAX_PICKLE_BYTES, path);
      const tensors = new Map<string, TensorShape>();
      const places = new Map<string, Place>();
      for (const [name, tensor] of await readStateDict(pickle, path, convert)) {
        const { shape, storage } = tensor;
        const dtype = dtypeOf(storage, name, path, convert);
        tensors.set(name, { name, dtype, shape });
        places.set(name, { tensor, record: recordOf(storage, dtype, records, path) });
      }
      return new TorchFile(path, tensors, places, file);
    } catch (error) {
      await file?.close();
      throw readError(error, path);
    }
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void> {
    const { dtype, shape } = this.tensors.get(name) ?? {};
    const place = this.places.get(name);
    if (!dtype || !shape || !place) throw new DdpmError('ERR_CHECKPOINT', `${this.path}: no tensor ${quote(name)}`);
    const { tensor, record } = place;
    const size = bytesPerElement[dtype];
    const begin = record.begin + tensor.offset * size;
    if (isContiguous(tensor)) yield* this.inOrder(begin, byteLength(dtype, shape));
    else yield* this.gathered(begin, tensor, size);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  /** Bytes that lie in the file as they are wanted. */
  private async *inOrder(begin: number, length: number): AsyncGenerator<Uint8Array, void> {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, length));
    for (let done = 0; done < length; done += buffer.length) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, length - done));
      await readFully(this.file, chunk, begin + done, this.path);
      yield chunk;
    }
  }

  /** The elements of a tensor whose memory is in another order (channels last, transposed), in the order of its shape. */
  private async *gathered(
    begin: number,
    { shape, strides }: PickledTensor,
    size: number,
  ): AsyncGenerator<Uint8Array, void> {
    // No more than the record holds: the reader of the pickle has checked that.
    const extent = shape.reduce((sum, length, i) => sum + (length - 1) * strides[i], 1);
    const source = new Uint8Array(extent * size);
    await readFully(this.file, source, begin, this.path);
    const count = shape.reduce((product, length) => product * length, 1);
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, count * size));
    const index = shape.map(() => 0);
    const pause = pacer();
    let from = 0;
    let filled = 0;
    for (let element = 0; element < count; element++) {
      for (let byte = 0; byte < size; byte++) buffer[filled++] = source[from * size + byte];
      if (filled === buffer.length || element === count - 1) {
        yield buffer.subarray(0, filled);
        filled = 0;
        await pause();
      }
      // The next element: the last dimension goes round first.
      for (let i = shape.length - 1; i >= 0; i--) {
        from += strides[i];
        if (++index[i] < shape[i]) break;
        from -= index[i] * strides[i];
        index[i] = 0;
      }
    }
  }
}

/** What to do about a file that cannot be read here. */
function howToConvert(path: string): string {
  const name = quote(path);
  const target = quote(path.replace(/(\.\w+)?$/, '.safetensors'));
  return [
    'In Python, these lines make a file that can be read; where the weights are only a part of what is loaded, take that:',
    `  state = torch.load(${name}, map_location="cpu")`,
    `  safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, ${target})`,
  ].join('\n');
}

async function checkKind(file: FileHandle, size: number, path: string, convert: string): Promise<void> {
  const start = new Uint8Array(Math.min(size, LEGACY.length));
  await readFully(file, start, 0, path);
  const begins = (bytes: readonly number[]) => bytes.every((byte, i) => start[i] === byte);
  if (begins(ZIP)) return;
  if (begins(LEGACY)) {
    throw new DdpmError(
      'ERR_CHECKPOINT',
      `${path}: the format of PyTorch before 1.6, which is not supported. ${convert}`,
    );
  }
  throw new DdpmError('ERR_CHECKPOINT', `${path}: expected a file of torch.save, which is a zip file`);
}

async function checkByteOrder(file: FileHandle, records: TorchRecords, path: string, convert: string): Promise<void> {
  // Older files have no such record, and are little-endian.
  const record = records.get('byteorder');
  if (!record) return;
  const order = Buffer.from(await readRecord(file, record, 'little'.length, path)).toString('latin1');
  if (order === 'little') return;
  throw new DdpmError('ERR_CHECKPOINT', `${path}: expected the byte order 'little', got ${quote(order)}. ${convert}`);
}

async function readRecord(file: FileHandle, record: TorchRecord, limit: number, path: string): Promise<Uint8Array> {
  if (record.length > limit) {
    const text = `expected a record of at most ${limit} bytes at byte ${record.begin}, got ${record.length}`;
    throw new DdpmError('ERR_CHECKPOINT', `${path}: ${text}`);
  }
  const bytes = new Uint8Array(record.length);
  await readFully(file, bytes, record.begin, path);
  return bytes;
}

function dtypeOf(storage: PickledStorage, name: string, path: string, convert: string): Dtype {
  if (Object.hasOwn(storageTypes, storage.type)) return storageTypes[storage.type];
  const expected = `one of ${Object.keys(storageTypes).join(', ')}`;
  const text = `tensor ${quote(name)}: expected a storage of ${expected}, got ${quote(storage.type)}. ${convert}`;
  throw new DdpmError('ERR_CHECKPOINT', `${path}: ${text}`);
}

function recordOf(storage: PickledStorage, dtype: Dtype, records: TorchRecords, path: string): TorchRecord {
  const name = `data/${storage.key}`;
  const record = records.get(name);
  const length = byteLength(dtype, [storage.count]);
  if (record?.length === length) return record;
  const found = record ? `${record.length} bytes` : 'no such record';
  throw new DdpmError('ERR_CHECKPOINT', `${path}: record ${quote(name)}: expected ${length} bytes, got ${found}`);
}

function isContiguous({ shape, strides }: PickledTensor): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return shape.includes(0);
    expected *= shape[i];
  }
  return true;
}
