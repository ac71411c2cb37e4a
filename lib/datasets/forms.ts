/**
 * The forms of numbers and colours in picture files: those that sharp reads rightly, those that are brought to one of
 * them first, and the rest, which is refused. `docs/datasets.md` has the table, and `test/datasets/forms.test.ts` a file
 * for each cell of it.
 */
import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Metadata } from 'sharp';
import { pacer } from '../concurrency';
import { isTiff, type TiffNumbers, tiffNumbers } from './tiff';

/** A file, or one of the same picture, in a form that sharp reads rightly. */
export interface ReadableFile {
  bytes: Buffer;
  metadata: Metadata;
}

/** Channels of a colour, by libvips' names of the spaces that are read. */
const COLOUR_CHANNELS: Record<string, number> = {
  'b-w': 1,
  grey16: 1,
  srgb: 3,
  rgb16: 3,
  scrgb: 3,
  cmyk: 4,
  labs: 3,
};

/** Numbers that sharp clips or cuts instead of scaling them: (v + offset) · scale lies between 0 and 65535. */
const SCALED = {
  char: { numbers: Int8Array, offset: 2 ** 7, scale: 257 },
  short: { numbers: Int16Array, offset: 2 ** 15, scale: 1 },
  uint: { numbers: Uint32Array, offset: 0, scale: 1 / 65537 },
  int: { numbers: Int32Array, offset: 2 ** 31, scale: 1 / 65537 },
  float: { numbers: Float32Array, offset: 0, scale: 65535 },
} as const;
type ScaledDepth = keyof typeof SCALED;

/**
 * A picture file as sharp reads it rightly.
 *
 * @throws {Error} It is no picture, or one of a form that is not read; the message names the form.
 */
export async function readableFile(bytes: Buffer): Promise<ReadableFile> {
  const tags = isTiff(bytes) ? tagsOf(bytes) : undefined;
  const metadata = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((error: Error) => {
      throw tags ? new Error(`${tiffForm(tags)}: ${error.message}`, { cause: error }) : error;
    });
  if (metadata.format === 'png') requireSrgb(bytes);
  if (isReadable(metadata, tags)) return { bytes, metadata };
  if (!tags) {
    const { format, depth, space, channels } = metadata;
    throw new Error(`${format?.toUpperCase()} of ${depth} numbers, ${space}, ${channels} channels: not supported`);
  }
  if (!isScalable(metadata, tags)) throw new Error(`${tiffForm(tags)}: not supported`);
  const picture = await asPng(bytes, metadata, tags);
  return { bytes: picture, metadata: await sharp(picture, { limitInputPixels: false }).metadata() };
}

/** The tags of a TIFF; of one that is too damaged for it, what sharp says of it is the better answer. */
function tagsOf(bytes: Buffer): TiffNumbers | undefined {
  try {
    return tiffNumbers(bytes);
  } catch {
    return undefined;
  }
}

function isReadable({ depth, space, channels }: Metadata, tags: TiffNumbers | undefined): boolean {
  const extra = channels - COLOUR_CHANNELS[space];
  if (!(extra === 0 || extra === 1)) return false;
  // libvips divides the numbers by the opacity after it has turned them over.
  if (tags?.whiteIsZero && tags.premultiplied) return false;
  if (depth === 'uchar') return space === 'b-w' || space === 'srgb' || space === 'cmyk';
  // Of CMYK with 16 bits libvips loses the transparency.
  if (depth === 'ushort') return space === 'grey16' || space === 'rgb16' || (space === 'cmyk' && extra === 0);
  return space === 'labs' && extra === 0 && tags?.kind === 'uint' && tags.bits === 16;
}

function isScalable({ depth, space, channels }: Metadata, { premultiplied }: TiffNumbers): boolean {
  const isGrey = space === 'b-w' || space === 'grey16';
  const isRgb = space === 'srgb' || space === 'rgb16' || space === 'scrgb';
  const extra = channels - COLOUR_CHANNELS[space];
  return depth in SCALED && (isGrey || isRgb) && (extra === 0 || (extra === 1 && !premultiplied));
}

/** The form in words: "TIFF of int16 numbers, CMYK, 5 channels". */
function tiffForm({ kind, bits, colours, samples, whiteIsZero, premultiplied }: TiffNumbers): string {
  const parts = [
    `TIFF of ${kind}${bits} numbers`,
    colours,
    `${samples} ${samples === 1 ? 'channel' : 'channels'}`,
    ...(whiteIsZero ? ['white as 0'] : []),
    ...(premultiplied ? ['colours multiplied by their opacity'] : []),
  ];
  return parts.join(', ');
}

/**
 * A PNG may say by a chunk of its own, `cICP`, that its colours are others than sRGB's: those of a wider space, or of HDR.
 *
 * @throws {Error} It does, and no profile beside says how they are to be seen.
 */
function requireSrgb(bytes: Buffer): void {
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    if (type === 'IDAT') break;
    chunks.set(type, bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const codes = chunks.get('cICP');
  if (codes === undefined || chunks.has('iCCP')) return;
  // BT.709's primaries with the curve of sRGB.
  const [primaries, transfer] = codes;
  if (primaries === 1 && transfer === 13) return;
  throw new Error(`PNG of cICP colours ${primaries}, ${transfer}: not supported; expected 1, 13 (sRGB)`);
}

/** The picture with its numbers scaled to 16 bits, its profile beside; upright. */
async function asPng(bytes: Buffer, metadata: Metadata, { kind, bits, whiteIsZero }: TiffNumbers): Promise<Buffer> {
  const { channels, depth, space, icc } = metadata;
  const { offset, scale } = SCALED[depth as ScaledDepth];
  // libvips turns the unsigned ones over itself.
  const turned = whiteIsZero && depth !== 'uint';
  const colours = COLOUR_CHANNELS[space];
  let values = new Uint16Array();
  let sides = { width: 0, height: 0 };
  const pause = pacer();
  for (let c = 0; c < channels; c++) {
    const { numbers, ...found } = await channelOf(bytes, metadata, c);
    if (c === 0) values = new Uint16Array(numbers.length * channels);
    sides = found;
    for (let i = 0; i < numbers.length; i++) {
      const v = numbers[i];
      if (depth === 'float' && !(v >= 0 && v <= 1)) {
        const got = Number.parseFloat(v.toPrecision(4));
        throw new Error(`TIFF of ${kind}${bits} numbers: expected 0 to 1, got ${got}`);
      }
      const scaled = Math.round((v + offset) * scale);
      values[i * channels + c] = turned && c < colours ? 65535 - scaled : scaled;
      if (i % 65536 === 0) await pause();
    }
  }
  const picture = await sharp(values, { raw: { ...sides, channels: channels as 1 | 2 | 3 | 4 } })
    .toColourspace(colours === 1 ? 'grey16' : 'rgb16')
    .png({ compressionLevel: 0 })
    .toBuffer();
  return icc ? withProfile(picture, icc) : picture;
}

/**
 * The numbers of one channel as they are in the file. Grey of 16 bits comes as unsigned numbers, whatever it is, so it has
 * to be moved there on the way.
 */
async function channelOf(bytes: Buffer, { channels, depth, space }: Metadata, channel: number) {
  const image = sharp(bytes, { failOn: 'error', autoOrient: true, ignoreIcc: true });
  const all = (value: number): number[] => Array(channels).fill(value);
  let moved: ((v: number) => number) | undefined;
  if (space === 'grey16' && depth === 'float') {
    // With room on both sides, so that numbers beyond 0 and 1 show; finer than a float of 16 bits above 2⁻⁵.
    image.linear(all(2 ** 15), all(2 ** 14 + 0.5));
    moved = (v) => (v - 2 ** 14) / 2 ** 15;
  } else if (space === 'grey16') {
    image.linear(all(1), all(2 ** 15));
    moved = (v) => v - 2 ** 15;
  }
  const { data, info } = await image
    .toColourspace(space as string)
    .extractChannel(channel as 0 | 1 | 2 | 3)
    .raw({ depth: moved ? 'ushort' : (depth as ScaledDepth) })
    .toBuffer({ resolveWithObject: true });
  const stored = new (moved ? Uint16Array : SCALED[depth as ScaledDepth].numbers)(Uint8Array.from(data).buffer);
  const numbers = moved ? Float64Array.from(stored, moved) : stored;
  return { numbers, width: info.width, height: info.height };
}

/** A PNG with a colour profile behind its head. */
function withProfile(picture: Buffer, icc: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from('iCCPprofile\0\0', 'latin1'), deflateSync(icc)]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length - 4);
  check.writeUInt32BE(crc32(body));
  const headEnd = 8 + 25;
  return Buffer.concat([picture.subarray(0, headEnd), length, body, check, picture.subarray(headEnd)]);
}
