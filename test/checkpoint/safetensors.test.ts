import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstNonFinite } from '../../lib/checkpoint/formats/dtypes';
import {
  CHUNK_BYTES,
  SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from '../../lib/checkpoint/formats/safetensors';
import { DdpmError } from '../../lib/errors';
import { readTensors, referencePath } from '../helpers/fixtures';
import { failure, temporaryFolder } from '../helpers/folder';

const folder = temporaryFolder();

/** A file with this header, as JSON or as text, and data of some length. */
function fileWith(header: object | string, dataLength: number, headerLength?: bigint): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(headerLength ?? BigInt(json.length));
  const path = join(folder(), 'x.safetensors');
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(dataLength)]));
  return path;
}

async function openAll(path: string): Promise<Map<string, Uint8Array>> {
  const file = await SafetensorsFile.open(path);
  try {
    const contents = new Map<string, Uint8Array>();
    for (const name of file.tensors.keys()) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.chunks(name)) chunks.push(Uint8Array.from(chunk));
      contents.set(name, Buffer.concat(chunks));
    }
    return contents;
  } finally {
    await file.close();
  }
}

const a = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
const b = { dtype: 'F16', shape: [3], data_offsets: [8, 14] };

describe('reading', () => {
  test('reads the tensors of a fixture, of each type that it has', async () => {
    const { t, 'ema.conv_out.bias': ema } = await readTensors(referencePath('training_steps.safetensors'));
    expect(t.shape).toEqual([8, 4]);
    expect(t.data).toBeInstanceOf(BigInt64Array);
    expect(t.data).toHaveLength(32);
    expect(ema.shape).toEqual([3]);
    const { 'linear-1000.betas': betas } = await readTensors(referencePath('schedules.safetensors'));
    expect(betas.data).toBeInstanceOf(Float64Array);
    expect(betas.data[0]).toBe(1e-4);
    expect(betas.data[999]).toBe(0.02);
  });

  test('takes any order of tensors, empty and scalar ones, spaces, and names that objects treat specially', async () => {
    const header = `{ "b" : ${JSON.stringify({ ...b, data_offsets: [8, 14] })},\n"a":${JSON.stringify(a)},
      "__proto__":{"data_offsets":[14,16],"shape":[],"dtype":"BF16"},"constructor":{"dtype":"I64","shape":[4,0],"data_offsets":[16,16]},
      "\\u0061\\n\\"\\\\":{"dtype":"F64","shape":[1],"data_offsets":[16,24]},"__metadata__":{"__proto__":"x"}}   `;
    const file = await SafetensorsFile.open(fileWith(header, 24));
    expect([...file.tensors.keys()]).toEqual(['a', 'b', '__proto__', 'constructor', 'a\n"\\']);
    expect(file.tensors.get('__proto__')).toEqual({ name: '__proto__', dtype: 'BF16', shape: [], begin: 14, end: 16 });
    expect([...file.metadata]).toEqual([['__proto__', 'x']]);
    await file.close();
  });

  test('reads large tensors in pieces, of whole elements', async () => {
    const count = CHUNK_BYTES / 8 + 5;
    const values = Float64Array.from({ length: count }, (_, i) => i);
    const path = fileWith({ x: { dtype: 'F64', shape: [count], data_offsets: [0, 8 * count] } }, 0);
    writeFileSync(path, Buffer.from(values.buffer), { flag: 'a' });
    const file = await SafetensorsFile.open(path);
    const lengths: number[] = [];
    let read = 0;
    for await (const chunk of file.chunks('x')) {
      lengths.push(chunk.length);
      const piece = new Float64Array(chunk.buffer, chunk.byteOffset, chunk.length / 8);
      expect(piece).toEqual(values.subarray(read, read + piece.length));
      read += piece.length;
    }
    await file.close();
    expect(lengths).toEqual([CHUNK_BYTES, 40]);
  });

  const bad: [string, object | string, number, RegExp][] = [
    ['no JSON', 'abc', 0, /x\.safetensors: header, character 0: expected '\{', got "abc"/],
    ['an array', '[]', 0, /expected '\{'/],
    ['JSON that ends early', '{"a":{"dtype":"F32"', 0, /header, character 19: expected '\}', got its end/],
    ['text after the object', '{}x', 0, /expected the end of the header, got "x"/],
    ['a name that does not end', '{"a', 0, /expected a string/],
    ['a bad escape', '{"\\x":1}', 0, /expected a string/],
    [
      'an unknown dtype',
      { a: { ...a, dtype: 'F8_E4M3' } },
      8,
      /tensor "a": dtype: expected one of F16, BF16, F32, F64, I64, got "F8_E4M3"/,
    ],
    ['a dtype from a prototype', { a: { ...a, dtype: 'constructor' } }, 8, /tensor "a": dtype/],
    [
      'a key that tensors do not have',
      { a: { ...a, strides: [1] } },
      8,
      /tensor "a": expected the keys dtype, shape and data_offsets, got "strides"/,
    ],
    ['a tensor without a shape', { a: { dtype: 'F32', data_offsets: [0, 8] } }, 8, /tensor "a": shape missing/],
    [
      'three offsets',
      { a: { ...a, data_offsets: [0, 4, 8] } },
      8,
      /tensor "a": data_offsets: expected two integers, got 3/,
    ],
    ['a negative dimension', { a: { ...a, shape: [-2] } }, 8, /expected an integer from 0 to 2\^53 − 1/],
    ['a fraction', { a: { ...a, shape: [2.5] } }, 8, /expected '\]'/],
    ['an exponent', '{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', 8, /expected '\]'/],
    ['a leading zero', '{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', 8, /expected an integer/],
    ['an integer beyond 2^53', { a: { ...a, shape: [2 ** 53] } }, 8, /expected an integer/],
    [
      'a shape whose product overflows',
      { a: { ...a, shape: [2 ** 40, 2 ** 40] } },
      8,
      /tensor "a": shape: expected fewer than 2\^53 bytes/,
    ],
    ['an overflow that a zero would hide', { a: { ...a, shape: [2 ** 40, 2 ** 40, 0] } }, 8, /tensor "a": shape/],
    [
      'a length that is not the shape’s',
      { a: { ...a, shape: [3] } },
      8,
      /tensor "a": data_offsets: expected \[0, 12\] .*, got \[0, 8\]/,
    ],
    ['offsets the wrong way round', { a: { ...a, data_offsets: [8, 0] } }, 8, /tensor "a": data_offsets/],
    [
      'an overlap',
      { a, b: { ...b, data_offsets: [4, 10] } },
      14,
      /tensor "b": data_offsets: expected \[8, 14\] .*, got \[4, 10\]/,
    ],
    ['a gap', { a, b: { ...b, data_offsets: [10, 16] } }, 16, /tensor "b": data_offsets/],
    ['a gap before the first', { a: { ...a, data_offsets: [2, 10] } }, 10, /tensor "a": data_offsets/],
    ['two tensors in one place', { a, b: a }, 8, /tensor "b": data_offsets/],
    [
      'a tensor beyond the end',
      { a, b },
      13,
      /tensor "b": the file ends before the tensor does: expected 14 bytes of data, got 13/,
    ],
    ['data that is no tensor’s', { a }, 9, /expected 8 bytes of data after the header, got 9/],
    [
      'a name given twice',
      `{"a":${JSON.stringify(a)},"a":${JSON.stringify(a)}}`,
      8,
      /the header: the key "a" is given twice/,
    ],
    [
      'a name given twice, once escaped',
      `{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`,
      8,
      /the key "a" is given twice/,
    ],
    [
      'a dtype given twice',
      '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      8,
      /tensor "a": the key "dtype" is given twice/,
    ],
    ['metadata that is no text', { __metadata__: { format: 1 } }, 0, /expected '"'/],
    ['a tensor that is no object', '{"a":null}', 0, /expected '\{', got "null}"/],
    ['a deep nest', `{"a":${'['.repeat(100_000)}`, 0, /expected '\{'/],
  ];
  test.each(bad)('refuses %s', async (_, header, dataLength, message) => {
    expect(await failure(SafetensorsFile.open(fileWith(header, dataLength)), 'ERR_CHECKPOINT')).toMatch(message);
  });

  test('refuses text that is not UTF-8', async () => {
    const path = fileWith('{"aaaa":1}', 0);
    const bytes = readFileSync(path);
    bytes[10] = 0xff;
    writeFileSync(path, bytes);
    expect(await failure(SafetensorsFile.open(path), 'ERR_CHECKPOINT')).toMatch(/UTF-8/);
  });

  test.each([
    ['beyond the file', 11n, /header length: expected at most 10 bytes \(the file has 18\), got 11/],
    ['beyond all files', 2n ** 64n - 1n, /header length/],
  ])('refuses a header length %s', async (_, length, message) => {
    expect(await failure(SafetensorsFile.open(fileWith('{"aaaa":1}', 0, length)), 'ERR_CHECKPOINT')).toMatch(message);
  });

  test('refuses files cut anywhere', async () => {
    const whole = readFileSync(fileWith({ a, b }, 14));
    const path = join(folder(), 'cut.safetensors');
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      expect(await failure(SafetensorsFile.open(path), 'ERR_CHECKPOINT')).toContain(path);
    }
  });

  test('notices a file that is cut after it was opened', async () => {
    const path = fileWith({ a, b }, 14);
    const file = await SafetensorsFile.open(path);
    truncateSync(path, readFileSync(path).length - 3);
    await failure(file.chunks('b').next(), 'ERR_CHECKPOINT');
    expect((await file.chunks('a').next()).value).toEqual(new Uint8Array(8));
    await file.close();
  });

  test('says what is not there or not a file', async () => {
    expect(await failure(SafetensorsFile.open(join(folder(), 'no')), 'ERR_CHECKPOINT')).toMatch(/no: no such file/);
    expect(await failure(SafetensorsFile.open(folder()), 'ERR_CHECKPOINT')).toMatch(/expected a file/);
    const pipe = join(folder(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(await failure(SafetensorsFile.open(pipe), 'ERR_CHECKPOINT')).toMatch(/expected a file/);
  });

  test('any damage to a header gives an error with a code, or a file that reads', async () => {
    const whole = readFileSync(fileWith({ __metadata__: { format: 'pt' }, a, b }, 14));
    const path = join(folder(), 'fuzz.safetensors');
    const random = mulberry32(20240607);
    const below = (n: number) => Math.floor(random() * n);
    const headerEnd = whole.length - 14;
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      '"',
      ',',
      ':',
      '0',
      '9',
      '-',
      'e',
      '\\',
      '\0',
      '\xff',
      ' ',
      '9007199254740993',
      '"a"',
      '"__proto__"',
    ];
    const outcomes = { read: 0, refused: 0 };
    for (let i = 0; i < 300; i++) {
      let bytes: Buffer = Buffer.from(whole);
      for (let n = 1 + below(3); n > 0; n--) {
        const at = below(Math.min(headerEnd, bytes.length));
        const piece = Buffer.from(pieces[below(pieces.length)], 'latin1');
        const kind = below(4);
        if (kind === 0) bytes[at] = below(256);
        else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
        else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))]);
        else piece.copy(bytes, at);
      }
      // Half the time the length fits again, so that the JSON is reached.
      if (below(2) && bytes.length >= 22) bytes.writeBigUInt64LE(BigInt(bytes.length - 22));
      writeFileSync(path, bytes);
      try {
        for (const data of (await openAll(path)).values()) expect(data.length).toBeLessThanOrEqual(14);
        outcomes.read++;
      } catch (error) {
        expect(error).toBeInstanceOf(DdpmError);
        expect((error as DdpmError).code).toBe('ERR_CHECKPOINT');
        outcomes.refused++;
      }
    }
    expect(outcomes.read).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(200);
  });
});

describe('writing', () => {
  const path = () => join(folder(), 'out.safetensors');
  const tensor = (name: string, dtype: TensorToWrite['dtype'], bytes: number[]): TensorToWrite => ({
    name,
    dtype,
    shape: [bytes.length / { F16: 2, BF16: 2, F32: 4, F64: 8, I64: 8 }[dtype]],
    chunks: () => [Uint8Array.from(bytes.slice(0, 3)), Uint8Array.from(bytes.slice(3))],
  });

  test('gives the bytes of the safetensors library: widest first, then by name, header filled up to 8', async () => {
    await writeSafetensors(path(), [
      tensor('h', 'F16', [1, 2]),
      tensor('s2', 'F32', [3, 4, 5, 6]),
      tensor('s10', 'F32', [7, 8, 9, 10]),
      tensor('i', 'I64', [11, 12, 13, 14, 15, 16, 17, 18]),
      tensor('__proto__', 'BF16', [19, 20]),
    ]);
    const header =
      '{"__metadata__":{"format":"pt"},"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"s10":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"s2":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},' +
      '"__proto__":{"dtype":"BF16","shape":[1],"data_offsets":[16,18]},"h":{"dtype":"F16","shape":[1],"data_offsets":[18,20]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    const bytes = readFileSync(path());
    expect(bytes.readBigUInt64LE()).toBe(BigInt(padded.length));
    expect(bytes.toString('latin1', 8, 8 + padded.length)).toBe(padded);
    expect([...bytes.subarray(8 + padded.length)]).toEqual([
      11, 12, 13, 14, 15, 16, 17, 18, 7, 8, 9, 10, 3, 4, 5, 6, 19, 20, 1, 2,
    ]);
    expect((await openAll(path())).get('s2')).toEqual(Buffer.from([3, 4, 5, 6]));
  });

  test('writes a file of the reference again, byte for byte', async () => {
    const original = referencePath('unet', 'class-16', 'unet', 'diffusion_pytorch_model.safetensors');
    const source = await SafetensorsFile.open(original);
    const tensors = [...source.tensors.values()].map(({ name, dtype, shape }) => ({
      name,
      dtype,
      shape,
      chunks: () => source.chunks(name),
    }));
    await writeSafetensors(path(), tensors.reverse(), { metadata: Object.fromEntries(source.metadata) });
    await source.close();
    expect(readFileSync(path()).equals(readFileSync(original))).toBe(true);
  });

  test('a failure leaves the old file whole and no other', async () => {
    writeFileSync(path(), 'old');
    const failing: TensorToWrite = {
      name: 'x',
      dtype: 'F32',
      shape: [2],
      *chunks() {
        yield new Uint8Array(4);
        throw new Error('no more');
      },
    };
    await expect(writeSafetensors(path(), [tensor('a', 'F32', [1, 2, 3, 4]), failing])).rejects.toThrow('no more');
    await failure(writeSafetensors(path(), [{ ...failing, chunks: () => [new Uint8Array(4)] }]), 'ERR_NATIVE');
    await failure(writeSafetensors(join(folder(), 'no', 'out'), []), 'ERR_IO');
    expect(readFileSync(path(), 'utf8')).toBe('old');
    expect(readdirSync(folder())).toEqual(['out.safetensors']);
  });

  test('an abort in the middle leaves the old file whole and no other', async () => {
    writeFileSync(path(), 'old');
    const controller = new AbortController();
    const reason = new Error('enough');
    let asked = 0;
    const endless: TensorToWrite = {
      name: 'x',
      dtype: 'F32',
      shape: [100],
      *chunks() {
        for (; asked < 100; asked++) {
          if (asked === 3) controller.abort(reason);
          yield new Uint8Array(4);
        }
      },
    };
    await expect(writeSafetensors(path(), [endless], { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: reason,
    });
    expect(asked).toBe(3);
    expect(readFileSync(path(), 'utf8')).toBe('old');
    expect(readdirSync(folder())).toEqual(['out.safetensors']);
  });
});

test('the first element that is not finite is found in every type', () => {
  const of = (array: Float32Array | Float64Array | Uint16Array) => new Uint8Array(array.buffer);
  expect(firstNonFinite(of(Float32Array.of(1, -3.4e38, 0, 1e-45)), 'F32')).toBe(-1);
  expect(firstNonFinite(of(Float32Array.of(1, 2, Number.NaN, Infinity)), 'F32')).toBe(2);
  expect(firstNonFinite(of(Float32Array.of(-Infinity)), 'F32')).toBe(0);
  expect(firstNonFinite(of(Float64Array.of(1, 3.4e38)), 'F64')).toBe(-1);
  expect(firstNonFinite(of(Float64Array.of(1, 3.5e38)), 'F64')).toBe(1);
  expect(firstNonFinite(of(Uint16Array.of(0x7bff, 0x3c00)), 'F16')).toBe(-1);
  expect(firstNonFinite(of(Uint16Array.of(0x7bff, 0xfc00)), 'F16')).toBe(1);
  expect(firstNonFinite(of(Uint16Array.of(0x7f7f, 0x7c00)), 'BF16')).toBe(-1);
  expect(firstNonFinite(of(Uint16Array.of(0x7f7f, 0x7fc0)), 'BF16')).toBe(1);
});

/** A generator of numbers from 0 to 1, the same for a seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
