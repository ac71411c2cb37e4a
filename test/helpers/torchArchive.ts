/** Files as `torch.save` writes them, and others that it never would. */

/** A part of a pickle. */
export type Code = Buffer | string;

const int32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

/** The instructions of a pickle of protocol 2, under names of their own. */
export const pickle = {
  program: (...parts: Code[]) => join('\x80\x02', ...parts, '.'),
  int: (value: number) => join('J', int32(value)),
  long: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return join('\x8a\x08', bytes);
  },
  text: (value: string) => join('X', int32(Buffer.byteLength(value)), Buffer.from(value)),
  global: (module: string, name: string) => join(`c${module}\n${name}\n`),
  tuple: (...parts: Code[]) => join('(', ...parts, 't'),
  dict: (...pairs: [Code, Code][]) => join('}', '(', ...pairs.flat(), 'u'),
  orderedDict: (...pairs: [Code, Code][]) => join('ccollections\nOrderedDict\n)R', '(', ...pairs.flat(), 'u'),
  call: (module: string, name: string, ...parts: Code[]) =>
    join(pickle.global(module, name), pickle.tuple(...parts), 'R'),
  storage: (type: string, key: string, count: number) =>
    join(
      pickle.tuple(
        pickle.text('storage'),
        pickle.global('torch', type),
        pickle.text(key),
        pickle.text('cuda:1'),
        pickle.int(count),
      ),
      'Q',
    ),
  ints: (values: readonly number[]) => pickle.tuple(...values.map(pickle.int)),
  tensor: (storage: Code, offset: number, shape: readonly number[], strides: readonly number[]) =>
    pickle.call(
      'torch._utils',
      '_rebuild_tensor_v2',
      storage,
      pickle.int(offset),
      pickle.ints(shape),
      pickle.ints(strides),
      '\x89',
      'ccollections\nOrderedDict\n)R',
    ),
};

/** An archive with a pickle and the records of storages. */
export function torchArchive(
  program: Code,
  storages: Record<string, Uint8Array> = {},
  more: Record<string, Code> = {},
): Buffer {
  const data = Object.entries(storages).map(([key, bytes]): [string, Uint8Array] => [`model/data/${key}`, bytes]);
  const others = Object.entries(more).map(([name, code]): [string, Uint8Array] => [name, join(code)]);
  return storedZip([['model/data.pkl', join(program)], ...data, ['model/version', Buffer.from('3\n')], ...others]);
}

/** A zip file of uncompressed entries; no checksums, which PyTorch may leave out. */
export function storedZip(entries: readonly (readonly [string, Uint8Array])[]): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const [name, bytes] of entries) {
    const common = Buffer.alloc(26);
    common.writeUInt32LE(bytes.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), bytes]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\x01\x02\0\0'), common, tail, Buffer.from(name)]));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, directory, Buffer.from('PK\x05\x06'), end]);
}

function join(...parts: Code[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
}
