/** Files of `torch.save`: one that PyTorch wrote, others made here instruction by instruction, and damaged ones. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHUNK_BYTES } from '../../lib/checkpoint/formats/safetensors';
import { TorchFile } from '../../lib/checkpoint/formats/torchFile';
import { DdpmError } from '../../lib/errors';
import { failure, temporaryFolder } from '../helpers/folder';
import { type Code, pickle, storedZip, torchArchive } from '../helpers/torchArchive';
import { uniforms } from '../model/numbers';

const folder = temporaryFolder();
const fixture = join(__dirname, '../fixtures/flat-2022/diffusion_pytorch_model.bin');

interface Read {
  dtype: string;
  shape: readonly number[];
  bytes: Buffer;
}

async function read(bytes: Uint8Array): Promise<Record<string, Read>> {
  const path = join(folder(), 'x.bin');
  writeFileSync(path, bytes);
  const file = await TorchFile.open(path);
  try {
    const tensors: [string, Read][] = [];
    for (const { name, dtype, shape } of file.tensors.values()) {
      const chunks: Buffer[] = [];
      for await (const chunk of file.chunks(name)) chunks.push(Buffer.from(chunk));
      tensors.push([name, { dtype, shape, bytes: Buffer.concat(chunks) }]);
    }
    return Object.fromEntries(tensors);
  } finally {
    await file.close();
  }
}

const float32 = (values: readonly number[]) => Buffer.from(Float32Array.from(values).buffer);
const floats = ({ bytes }: Read) => [...new Float32Array(new Uint8Array(bytes).buffer)];

/** An archive of one tensor, `a`, in one storage of float32. */
function one(shape: readonly number[], strides: readonly number[], values: readonly number[], offset = 0): Buffer {
  const storage = pickle.storage('FloatStorage', '0', values.length);
  const program = pickle.program(
    pickle.orderedDict([pickle.text('a'), pickle.tensor(storage, offset, shape, strides)]),
  );
  return torchArchive(program, { 0: float32(values) });
}

describe('reading', () => {
  test('a file of PyTorch', async () => {
    const tensors = await read(readFileSync(fixture));
    expect(Object.keys(tensors)).toHaveLength(142);
    expect(tensors['conv_in.weight']).toMatchObject({ dtype: 'F32', shape: [8, 1, 3, 3] });
    expect(tensors['mid_block.attentions.0.query.weight']).toMatchObject({ dtype: 'F32', shape: [8, 8] });
    expect(floats(tensors['conv_norm_out.weight'])).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
    for (const { shape, bytes } of Object.values(tensors)) {
      expect(bytes.length).toBe(4 * shape.reduce((product, size) => product * size, 1));
    }
  });

  test.each([
    ['HalfStorage', 'F16', 2],
    ['BFloat16Storage', 'BF16', 2],
    ['FloatStorage', 'F32', 4],
    ['DoubleStorage', 'F64', 8],
    ['LongStorage', 'I64', 8],
  ])('%s', async (type, dtype, size) => {
    const bytes = Buffer.from(Array.from({ length: 6 * size }, (_, i) => i));
    const tensor = pickle.tensor(pickle.storage(type, 'k', 6), 0, [2, 3], [3, 1]);
    const file = torchArchive(pickle.program(pickle.dict([pickle.text('x'), tensor])), { k: bytes });
    expect(await read(file)).toEqual({ x: { dtype, shape: [2, 3], bytes } });
  });

  test('views of one storage', async () => {
    const storage = pickle.storage('FloatStorage', '0', 5);
    const program = pickle.program(
      pickle.orderedDict(
        [pickle.text('whole'), pickle.tensor(storage, 0, [5], [1])],
        [pickle.text('end'), pickle.tensor(storage, 3, [2], [1])],
        [pickle.text('scalar'), pickle.tensor(storage, 4, [], [])],
        [pickle.text('nothing'), pickle.tensor(storage, 5, [0, 7], [7, 1])],
      ),
    );
    const tensors = await read(torchArchive(program, { 0: float32([1, 2, 3, 4, 5]) }));
    expect(Object.entries(tensors).map(([name, tensor]) => [name, floats(tensor)])).toEqual([
      ['whole', [1, 2, 3, 4, 5]],
      ['end', [4, 5]],
      ['scalar', [5]],
      ['nothing', []],
    ]);
  });

  test.each<[string, readonly number[], readonly number[], number, number[]]>([
    ['transposed', [3, 2], [1, 3], 0, [0, 3, 1, 4, 2, 5]],
    ['channels last', [1, 2, 1, 3], [6, 1, 6, 2], 0, [0, 2, 4, 1, 3, 5]],
    ['every second', [2], [2], 1, [1, 3]],
    ['expanded', [2, 3], [0, 1], 3, [3, 4, 5, 3, 4, 5]],
    ['of size one, with any stride', [1, 6], [77, 1], 0, [0, 1, 2, 3, 4, 5]],
  ])('memory in another order: %s', async (_, shape, strides, offset, expected) => {
    expect(floats((await read(one(shape, strides, [0, 1, 2, 3, 4, 5], offset))).a)).toEqual(expected);
  });

  test('more than one piece in another order', async () => {
    const [rows, columns] = [300, 1000];
    const values = Array.from({ length: rows * columns }, (_, i) => i);
    expect(4 * values.length).toBeGreaterThan(CHUNK_BYTES);
    const transposed = Array.from(values, (_, i) => (i % rows) * columns + Math.floor(i / rows));
    expect(floats((await read(one([columns, rows], [1, columns], values))).a)).toEqual(transposed);
  });

  test('a parameter, a dict with notes, integers in the long form', async () => {
    const storage = pickle.storage('FloatStorage', '0', 2);
    const tensor = pickle.call(
      'torch._utils',
      '_rebuild_tensor_v2',
      storage,
      pickle.long(0n),
      pickle.tuple(pickle.long(2n)),
      pickle.tuple(pickle.long(1n)),
      '\x89',
      'N',
      '}',
    );
    const parameter = pickle.call('torch._utils', '_rebuild_parameter', tensor, '\x88', 'N');
    const notes = Buffer.concat([pickle.dict([pickle.text('_metadata'), pickle.dict()]), Buffer.from('b')]);
    const program = pickle.program(pickle.orderedDict([pickle.text('p'), parameter]), notes);
    expect(floats((await read(torchArchive(program, { 0: float32([7, 8]) }))).p)).toEqual([7, 8]);
  });

  test('the instructions of protocol 4', async () => {
    const short = (text: string) => Buffer.from(`\x8c${String.fromCharCode(text.length)}${text}`, 'latin1');
    const global = (module: string, name: string) => Buffer.concat([short(module), short(name), Buffer.from([0x93])]);
    const parts: Code[] = [
      Buffer.from('\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(', 'latin1'),
      short('a'),
      global('torch._utils', '_rebuild_tensor_v2'),
      '(',
      pickle.storage('FloatStorage', '0', 2),
      Buffer.from('K\0K\x02\x85\x94K\x01\x85\x89}tRu.', 'latin1'),
    ];
    const program = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
    expect(floats((await read(torchArchive(program, { 0: float32([3, 4]) }))).a)).toEqual([3, 4]);
  });

  test('tuples nested a million deep', async () => {
    const nested = Buffer.concat([Buffer.from('\x80\x02)', 'latin1'), Buffer.alloc(1_000_000, 0x85), Buffer.from('.')]);
    expect(await refused(torchArchive(nested))).toContain('expected a state dict, got a tuple');
  });
});

async function refused(bytes: Uint8Array): Promise<string> {
  const text = await failure(read(bytes), 'ERR_CHECKPOINT');
  expect(text).toContain(join(folder(), 'x.bin'));
  return text;
}

const storage = pickle.storage('FloatStorage', '0', 4);
const good = pickle.tensor(storage, 0, [4], [1]);
const state = (value: Code) => pickle.program(pickle.orderedDict([pickle.text('a'), value]));
const values = float32([1, 2, 3, 4]);

describe('what is no state dict of plain tensors is named, with the way to convert it', () => {
  test.each<[string, Code, string]>([
    ['a number', pickle.program(pickle.int(5)), 'a state dict, got 5'],
    ['a tensor', pickle.program(good), 'a state dict, got a tensor'],
    ['a nested dict', state(pickle.dict([pickle.text('b'), good])), 'a tensor under the name "a", got a dict'],
    ['a list', state(']'), 'a tensor under the name "a", got a list'],
    ['a number with a name', state(pickle.int(3)), 'a tensor under the name "a", got 3'],
    ['a key that is no name', pickle.program(pickle.dict([pickle.int(1), good])), 'a name of a tensor, got 1'],
    ['a call of anything', state(pickle.call('os', 'system', pickle.text('x'))), 'got Python\'s "os.system"'],
    ['an array of numpy', state(pickle.call('numpy.core.multiarray', '_reconstruct')), 'numpy.core.multiarray'],
    [
      'a quantized tensor',
      state(pickle.call('torch._utils', '_rebuild_qtensor', storage)),
      'got a quantized tensor (torch._utils._rebuild_qtensor)',
    ],
    [
      'a sparse tensor',
      state(pickle.call('torch._utils', '_rebuild_sparse_tensor', storage)),
      'got a sparse tensor (torch._utils._rebuild_sparse_tensor)',
    ],
    [
      'numbers of another type',
      state(pickle.tensor(pickle.storage('IntStorage', '0', 4), 0, [4], [1])),
      'tensor "a": expected a storage of one of HalfStorage, BFloat16Storage, FloatStorage, DoubleStorage, LongStorage, got "IntStorage"',
    ],
    [
      'an object',
      state(Buffer.concat([pickle.global('torch', 'FloatStorage'), Buffer.from(')\x81', 'latin1')])),
      '0x81',
    ],
  ])('%s', async (_, program, expected) => {
    const text = await refused(torchArchive(program, { 0: values }));
    expect(text).toContain(expected);
    const path = JSON.stringify(join(folder(), 'x.bin'));
    expect(text).toContain(`\n  state = torch.load(${path}, map_location="cpu")\n`);
    expect(text).toMatch(/\n {2}safetensors\.torch\.save_file\(.*"[^"]*x\.safetensors"\)$/);
  });

  test('TorchScript, another byte order, the format before 1.6', async () => {
    const program = state(good);
    const script = torchArchive(program, { 0: values }, { 'model/constants.pkl': '' });
    expect(await refused(script)).toContain('got a TorchScript program. In Python');
    const big = torchArchive(program, { 0: values }, { 'model/byteorder': 'big' });
    expect(await refused(big)).toContain('expected the byte order \'little\', got "big". In Python');
    const legacy = Buffer.from('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.', 'latin1');
    expect(await refused(legacy)).toContain('the format of PyTorch before 1.6, which is not supported. In Python');
  });
});

describe('damage', () => {
  test.each<[string, Code, string]>([
    ['nothing', '', 'it ends in the middle'],
    ['no end', '\x80\x02}', 'it ends in the middle'],
    ['an empty stack', pickle.program(), 'it uses a value that is not there'],
    ['values left behind', pickle.program('}', '}'), 'it leaves values behind'],
    ['no mark', pickle.program('t'), 'it uses values that are not there'],
    ['a mark in the way', pickle.program('}', '(', 's'), 'it uses a value that is not there'],
    ['a text longer than the file', pickle.program('X\xff\xff\xff\xffabc'), 'it ends in the middle'],
    ['a text that is none', pickle.program('X\x01\0\0\0\xff'), 'expected UTF-8 text'],
    ['a value that was not kept', pickle.program('h\x07'), 'it recalls value 7, which it has not kept'],
    ['an item of no dict', pickle.program(']', pickle.text('a'), good, 's'), 'it sets items of what is no dict'],
    ['a key without a value', pickle.program('}', '(', pickle.text('a'), 'u'), 'it sets items of what is no dict'],
    ['an element of no list', pickle.program('}', good, 'a'), 'it appends to what is no list'],
    [
      'a key that is given twice',
      pickle.program(pickle.dict([pickle.text('a'), good], [pickle.text('a'), good])),
      'the key "a" is given twice',
    ],
    ['a call of no function', state(Buffer.from('NNR')), 'it calls None with what does not belong there'],
    [
      'a storage that is none',
      state(Buffer.concat([pickle.tuple(pickle.text('x')), Buffer.from('Q')])),
      'it names a storage',
    ],
    ['an integer beyond 2^53', pickle.program(pickle.long(2n ** 60n)), 'an integer is beyond 2^53'],
    ['a tensor of no storage', state(pickle.tensor('N', 0, [4], [1])), 'it describes a tensor'],
    ['a negative size', state(pickle.tensor(storage, 0, [-4], [1])), 'it describes a tensor'],
    ['a negative offset', state(pickle.tensor(storage, -1, [4], [1])), 'it describes a tensor'],
    ['sizes without strides', state(pickle.tensor(storage, 0, [2, 2], [1])), 'it describes a tensor'],
    [
      'more dimensions than PyTorch has',
      state(pickle.tensor(storage, 0, Array(65).fill(1), Array(65).fill(1))),
      'it describes a tensor',
    ],
    ['a tensor beyond its storage', state(pickle.tensor(storage, 0, [5], [1])), 'reaches beyond the 4 elements'],
    ['an offset beyond its storage', state(pickle.tensor(storage, 4, [1], [1])), 'reaches beyond the 4 elements'],
    ['strides beyond its storage', state(pickle.tensor(storage, 0, [2, 2], [3, 1])), 'reaches beyond the 4 elements'],
    [
      'sizes beyond all numbers',
      state(pickle.tensor(storage, 0, [2147483647, 2147483647], [2147483647, 2147483647])),
      'reaches beyond the 4 elements',
    ],
    [
      'a storage that the file does not have',
      state(pickle.tensor(pickle.storage('FloatStorage', '1', 4), 0, [4], [1])),
      'record "data/1": expected 16 bytes, got no such record',
    ],
    [
      'a storage larger than its record',
      state(pickle.tensor(pickle.storage('FloatStorage', '0', 2147483647), 0, [2147483647], [1])),
      'record "data/0": expected 8589934588 bytes, got 16 bytes',
    ],
  ])('%s', async (_, program, expected) => {
    expect(await refused(torchArchive(program, { 0: values }))).toContain(expected);
  });

  test('of the archive', async () => {
    const whole = torchArchive(state(good), { 0: values });
    expect(await refused(Buffer.alloc(0))).toContain('expected a file of torch.save');
    expect(await refused(Buffer.from('{}'))).toContain('expected a file of torch.save');
    expect(await refused(whole.subarray(0, -30))).toContain('a damaged archive');
    expect(await refused(storedZip([['other', values]]))).toContain('which has one folder with data.pkl');
    const twice = torchArchive(state(good), { 0: values }, { 'model/data/0': '' });
    expect(await refused(twice)).toContain('the record "data/0" is there twice');
    const two = torchArchive(state(good), { 0: values }, { 'other/data.pk': '' });
    expect(await refused(two)).toContain('which has one folder with data.pkl');
    const packed = Buffer.from(whole);
    packed.writeUInt16LE(8, packed.indexOf('PK\x01\x02') + 10);
    expect(await refused(packed)).toContain('is compressed or encrypted');
    const long = torchArchive(Buffer.concat([Buffer.from('\x80\x02}'), Buffer.alloc(17 * 1024 * 1024)]));
    expect(await refused(long)).toContain('expected a record of at most 16777216 bytes');
  });

  test('a file that is cut anywhere', async () => {
    const whole = readFileSync(fixture);
    for (let i = 0; i < 40; i++) await refused(whole.subarray(0, Math.floor((i * whole.length) / 40)));
  });

  test('a file that is not there, or a folder', async () => {
    expect(await failure(TorchFile.open(join(folder(), 'none.bin')), 'ERR_CHECKPOINT')).toMatch(/no such file$/);
    expect(await failure(TorchFile.open(folder()), 'ERR_CHECKPOINT')).toMatch(/expected a file$/);
  });

  test('any bytes in any place: read, or refused', async () => {
    const whole = readFileSync(fixture);
    const random = uniforms(1606);
    const below = (n: number) => Math.floor(random() * n);
    // The pickle is at the start, the directory at the end; what lies between is numbers, in which all is allowed.
    const places = [() => below(23_000), () => whole.length - 1 - below(11_500), () => below(whole.length)];
    const outcomes = { read: 0, refused: 0 };
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(whole);
      for (let n = 1 + below(3); n > 0; n--) bytes[places[below(places.length)]()] = below(256);
      try {
        const tensors = await read(bytes);
        // Nothing gives more numbers than the file holds for it.
        for (const { bytes: data } of Object.values(tensors)) expect(data.length).toBeLessThan(whole.length);
        outcomes.read++;
      } catch (error) {
        if (!(error instanceof DdpmError)) throw error;
        expect(error.code).toBe('ERR_CHECKPOINT');
        outcomes.refused++;
      }
    }
    expect(outcomes.read).toBeGreaterThan(50);
    expect(outcomes.refused).toBeGreaterThan(100);
  });
});
