/** PNG files of every colour type and depth, which sharp does not write. */
import { crc32, deflateSync } from 'node:zlib';
import { packed } from './tiff';

export interface PngOptions {
  width: number;
  /** Rows of `width` pixels of as many values as `colours` has. */
  values: readonly number[];
  bits: 1 | 2 | 4 | 8 | 16;
  colours: 'grey' | 'rgb' | 'palette' | 'grey-alpha' | 'rgb-alpha';
  /** An ICC profile. */
  icc?: Uint8Array;
  /** Primaries, transfer function, matrix and range, by their code points. */
  cicp?: readonly number[];
  /** Red, green and blue of each index, 0 to 255. */
  palette?: readonly (readonly number[])[];
  /** The colour that is transparent; of a palette, the opacity of each index. */
  transparent?: readonly number[];
}

const COLOURS = {
  grey: [0, 1],
  rgb: [2, 3],
  palette: [3, 1],
  'grey-alpha': [4, 2],
  'rgb-alpha': [6, 4],
} as const;

export function rawPng({ width, values, bits, colours, icc, cicp, palette, transparent }: PngOptions): Buffer {
  const [type, samples] = COLOURS[colours];
  const rows = packed(values, width * samples, bits, 'uint', true);
  const height = values.length / samples / width;
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([bits, type], 8);
  const filtered = Array.from({ length: height }, (_, y) => [
    Buffer.alloc(1),
    rows.subarray((y * rows.length) / height, ((y + 1) * rows.length) / height),
  ]);
  const key = transparent && (palette ? Buffer.from(transparent) : packed(transparent, samples, 16, 'uint', true));
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', head),
    ...(cicp ? [chunk('cICP', Buffer.from(cicp))] : []),
    ...(icc ? [chunk('iCCP', Buffer.concat([Buffer.from('test\0\0', 'latin1'), deflateSync(icc)]))] : []),
    ...(palette ? [chunk('PLTE', Buffer.from(palette.flat()))] : []),
    ...(key ? [chunk('tRNS', key)] : []),
    chunk('IDAT', deflateSync(Buffer.concat(filtered.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

export function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
