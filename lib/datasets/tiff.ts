/** What the head of a TIFF says of its numbers, which libvips does not pass on. */

/** Of the first picture in the file. */
export interface TiffNumbers {
  kind: 'uint' | 'int' | 'float' | 'other';
  bits: number;
  /** What they are the numbers of: 'grey', 'RGB', … */
  colours: string;
  /** Numbers a pixel. */
  samples: number;
  /** Whether the smallest number is white. */
  whiteIsZero: boolean;
  /** Whether colours are stored multiplied by their opacity. */
  premultiplied: boolean;
}

const BITS_PER_SAMPLE = 258;
const PHOTOMETRIC = 262;
const SAMPLES_PER_PIXEL = 277;
const EXTRA_SAMPLES = 338;
const SAMPLE_FORMAT = 339;
const KINDS: Record<number, TiffNumbers['kind']> = { 1: 'uint', 2: 'int', 3: 'float' };
const COLOURS: Record<number, string> = {
  0: 'grey',
  1: 'grey',
  2: 'RGB',
  3: 'palette',
  5: 'CMYK',
  6: 'YCbCr',
  8: 'CIELab',
  9: 'ICCLab',
};

/** Whether a file begins as a TIFF or BigTIFF does. */
export function isTiff(bytes: Buffer): boolean {
  return /^(II[*+]\0|MM\0[*+])/.test(bytes.toString('latin1', 0, 4));
}

/**
 * Reads the tags of a TIFF or BigTIFF; one that is not there has the standard's default.
 *
 * @throws {RangeError} The file ends before.
 */
export function tiffNumbers(bytes: Buffer): TiffNumbers {
  const bigEndian = bytes.toString('latin1', 0, 2) === 'MM';
  const u16 = (at: number) => (bigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at));
  const u32 = (at: number) => (bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at));
  const u64 = (at: number) => Number(bigEndian ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
  const big = u16(2) === 43;

  const directory = big ? u64(8) : u32(4);
  const count = big ? u64(directory) : u16(directory);
  const first = directory + (big ? 8 : 2);
  const size = big ? 20 : 12;
  const numberOf = (tag: number): number | undefined => {
    for (let at = first; at < first + count * size; at += size) {
      if (u16(at) !== tag) continue;
      // One number a sample, and all alike; more of them than fit here are elsewhere in the file.
      const room = big ? 8 : 4;
      const bytesOfValue = 2 * (big ? u64(at + 4) : u32(at + 4));
      const value = at + size - room;
      return u16(bytesOfValue <= room ? value : big ? u64(value) : u32(value));
    }
    return undefined;
  };
  const photometric = numberOf(PHOTOMETRIC) ?? -1;
  return {
    bits: numberOf(BITS_PER_SAMPLE) ?? 1,
    colours: COLOURS[photometric] ?? 'colours of another kind',
    samples: numberOf(SAMPLES_PER_PIXEL) ?? 1,
    kind: KINDS[numberOf(SAMPLE_FORMAT) ?? 1] ?? 'other',
    whiteIsZero: photometric === 0,
    premultiplied: numberOf(EXTRA_SAMPLES) === 1,
  };
}
