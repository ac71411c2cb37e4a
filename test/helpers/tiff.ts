/** TIFF files of any kind of number: what sharp writes are whole numbers of 8 and 16 bits alone. */

/** How the numbers of a TIFF are stored, and what they mean. */
export interface TiffOptions {
  width: number;
  /** Rows of `width` pixels of `samples` values each. */
  values: readonly number[];
  samples: number;
  bits: 1 | 2 | 4 | 8 | 16 | 32 | 64;
  /** 'uint' where left out. */
  kind?: 'uint' | 'int' | 'float';
  photometric: 'white-is-zero' | 'black-is-zero' | 'rgb' | 'palette' | 'cmyk' | 'lab';
  /** What each sample beyond those of the colour is. */
  extra?: readonly ('unspecified' | 'premultiplied' | 'alpha')[];
  /** An ICC profile. */
  icc?: Uint8Array;
  /** Red, green and blue of each index, 0 to 65535. */
  palette?: readonly (readonly [number, number, number])[];
  bigEndian?: boolean;
  /** Whether its places are told in 64 bits: a BigTIFF. */
  big?: boolean;
}

const PHOTOMETRIC = { 'white-is-zero': 0, 'black-is-zero': 1, rgb: 2, palette: 3, cmyk: 5, lab: 8 };
const KIND = { uint: 1, int: 2, float: 3 };
const EXTRA = { unspecified: 0, premultiplied: 1, alpha: 2 };
const [SHORT, LONG, UNDEFINED] = [3, 4, 7];

/** An uncompressed TIFF in one strip. */
export function tiff(options: TiffOptions): Buffer {
  const { width, values, samples, bits, kind = 'uint', photometric, extra = [], icc, palette } = options;
  const { bigEndian = false, big = false } = options;
  const pixels = even(packed(values, width * samples, bits, kind, bigEndian));
  const colours =
    palette && [0, 1, 2].flatMap((c) => Array.from({ length: 2 ** bits }, (_, i) => palette[i]?.[c] ?? 0));
  const shorts = (...numbers: number[]) => packed(numbers, numbers.length, 16, 'uint', bigEndian);
  const long = (number: number) => packed([number], 1, 32, 'uint', bigEndian);
  const place = (number: number) => (big ? packed([number], 1, 64, 'uint', bigEndian) : long(number));
  const height = values.length / samples / width;
  const headBytes = big ? 16 : 8;
  const tags: [tag: number, type: number, count: number, content: Buffer][] = [
    [256, LONG, 1, long(width)],
    [257, LONG, 1, long(height)],
    [258, SHORT, samples, shorts(...Array(samples).fill(bits))],
    [259, SHORT, 1, shorts(1)],
    [262, SHORT, 1, shorts(PHOTOMETRIC[photometric])],
    [273, LONG, 1, long(headBytes)],
    [277, SHORT, 1, shorts(samples)],
    [278, LONG, 1, long(height)],
    [279, LONG, 1, long(pixels.length)],
  ];
  if (colours) tags.push([320, SHORT, colours.length, shorts(...colours)]);
  if (extra.length > 0) tags.push([338, SHORT, extra.length, shorts(...extra.map((name) => EXTRA[name]))]);
  tags.push([339, SHORT, samples, shorts(...Array(samples).fill(KIND[kind]))]);
  if (icc) tags.push([34675, UNDEFINED, icc.length, Buffer.from(icc)]);

  const room = big ? 8 : 4;
  const directoryAt = headBytes + pixels.length;
  let free = directoryAt + (big ? 8 : 2) + tags.length * (big ? 20 : 12) + room;
  const entries: Buffer[] = [];
  const behind: Buffer[] = [];
  for (const [tag, type, count, content] of tags) {
    const fits = content.length <= room;
    const value = fits ? Buffer.concat([content, Buffer.alloc(room - content.length)]) : place(free);
    entries.push(shorts(tag, type), place(count), value);
    if (fits) continue;
    behind.push(even(content));
    free += even(content).length;
  }
  const order = Buffer.from(bigEndian ? 'MM' : 'II');
  const head = big ? [order, shorts(43, 8, 0), place(directoryAt)] : [order, shorts(42), place(directoryAt)];
  const count = big ? place(tags.length) : shorts(tags.length);
  return Buffer.concat([...head, pixels, count, ...entries, Buffer.alloc(room), ...behind]);
}

function even(bytes: Buffer): Buffer {
  return bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)]);
}

/** Numbers as bytes; those of less than 8 bits fill bytes from the top, and each row begins with a new one. */
export function packed(
  values: readonly number[],
  row: number,
  bits: number,
  kind: 'uint' | 'int' | 'float',
  bigEndian = false,
): Buffer {
  if (bits < 8) {
    const rowBytes = Math.ceil((row * bits) / 8);
    const bytes = Buffer.alloc((values.length / row) * rowBytes);
    for (const [i, value] of values.entries()) {
      const bit = (i % row) * bits;
      bytes[Math.floor(i / row) * rowBytes + (bit >> 3)] |= value << (8 - bits - (bit & 7));
    }
    return bytes;
  }
  const size = bits / 8;
  const bytes = Buffer.alloc(values.length * size);
  for (const [i, value] of values.entries()) {
    const one = new DataView(bytes.buffer, bytes.byteOffset + i * size, size);
    if (kind === 'float' && bits === 16) one.setUint16(0, half(value), !bigEndian);
    else if (kind === 'float' && bits === 32) one.setFloat32(0, value, !bigEndian);
    else if (kind === 'float') one.setFloat64(0, value, !bigEndian);
    else if (bits === 64) one.setBigInt64(0, BigInt.asIntN(64, BigInt(value)), !bigEndian);
    else if (bits === 32) one.setUint32(0, value, !bigEndian);
    else if (bits === 16) one.setUint16(0, value, !bigEndian);
    else one.setUint8(0, value);
  }
  return bytes;
}

/** A number as an IEEE 754 binary16; those that need rounding are cut. */
function half(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | Math.floor(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | ((exponent + 15) << 10) | Math.floor((size / 2 ** exponent - 1) * 1024);
}
