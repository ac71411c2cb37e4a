/** A file for each cell of the table of forms in docs/datasets.md: read rightly, or refused by name. */
import sharp from 'sharp';
import { imageFolder } from '../../lib/datasets';
import { markedTables } from '../docs/markdown';
import { linearProfile } from '../helpers/icc';
import { type PngOptions, rawPng } from '../helpers/png';
import { type TiffOptions, tiff } from '../helpers/tiff';
import { expectClose, put, rejection, useFolder } from './support';

/** Rows of the table; a cell of the test is one of each column. */
interface Row {
  file: string;
  numbers: string[];
  colours: string[];
  profile: string[];
  transparency: string[];
  becomes: string;
}

interface Cell {
  file: string;
  numbers: string;
  colours: string;
  profile: string;
  transparency: string;
}

const list = (cell: string) => cell.split(', ');
const rows: Row[] = (markedTables().get('forms of pictures')?.rows ?? []).map(
  ([file, numbers, colours, profile, transparency, becomes]) => ({
    file,
    numbers: list(numbers),
    colours: list(colours),
    profile: list(profile),
    transparency: list(transparency),
    becomes,
  }),
);
const cells = rows.flatMap(({ file, becomes, ...columns }) =>
  columns.numbers.flatMap((numbers) =>
    columns.colours.flatMap((colours) =>
      columns.profile.flatMap((profile) =>
        columns.transparency.map((transparency): [string, Cell, string] => {
          const cell = { file, numbers, colours, profile, transparency };
          return [Object.values(cell).join(' · '), cell, becomes];
        }),
      ),
    ),
  ),
);

test('there are at least 120 cells, each once', () => {
  expect(cells.length).toBeGreaterThanOrEqual(120);
  expect(new Set(cells.map(([name]) => name)).size).toBe(cells.length);
});

/** Red, green, blue and opacity of the pixels, 0 to 1; those that cannot be seen have a colour all the same. */
const PIXELS = Array.from({ length: 8 }, (_, i) => {
  const v = i / 7;
  return [v, 1 - v, v ** 2, i === 2 || i === 6 ? 0 : i === 4 ? 0.5 : 1];
});

const path = useFolder();

test.each(cells)('%s', async (_, cell, becomes) => {
  const { bytes, pixels, tolerance } = await make(cell);
  put(path(`cell.${cell.file.toLowerCase()}`), bytes);
  const reading = imageFolder(path(), { height: 1, width: pixels.length, channels: 4 });
  if (becomes === 'refused') {
    const { code, message } = await rejection(reading);
    expect(code).toBe('ERR_DATASET');
    const form = cell.file === 'TIFF' ? `${cell.numbers} numbers, ${cell.colours.replace('inverted ', '')}, ` : 'cICP';
    expect(message).toContain(`\n  cell.${cell.file.toLowerCase()}: ${cell.file} of ${form}`);
    return;
  }
  const expected = pixels.flatMap(([r, g, b, a]) => (a === 0 ? [0, 0, 0, 0] : [r, g, b, a].map((v) => 255 * v)));
  expectClose((await reading).image(0).data, expected, tolerance);
});

interface Picture {
  bytes: Buffer;
  /** What must come of it: red, green, blue and opacity, 0 to 1. */
  pixels: number[][];
  /** Of the levels. */
  tolerance: number;
}

function make(cell: Cell): Picture | Promise<Picture> {
  if (cell.colours === 'CMYK') return cell.file === 'TIFF' ? cmykTiff(cell) : cmykJpeg(cell);
  if (cell.colours === 'CIELab') return lab(cell);
  return cell.file === 'PNG' || cell.file === 'TIFF' ? exact(cell) : fromSharp(cell);
}

/** A kind of numbers: 'int16', say. */
function kindOf(numbers: string): {
  kind: 'uint' | 'int' | 'float';
  bits: TiffOptions['bits'];
  store: Store;
  fine: Store;
} {
  const [, kind, digits] = /^(uint|int|float)(\d+)$/.exec(numbers) as unknown as [
    string,
    'uint' | 'int' | 'float',
    string,
  ];
  const bits = Number(digits) as TiffOptions['bits'];
  // Of 64 bits, which are refused, any numbers do.
  const steps = 2 ** Math.min(bits, 32) - 1;
  const lowest = kind === 'int' ? -(2 ** (Math.min(bits, 32) - 1)) : 0;
  if (kind === 'float') return { kind, bits, store: (v) => v, fine: (v) => v };
  return { kind, bits, store: (v) => Math.round(v * steps) + lowest, fine: (v) => Math.round(v * steps) / steps };
}

/** From 0 … 1 to what is in the file, or to what such a number can say. */
type Store = (v: number) => number;

/** Files whose every number is chosen. */
function exact({ file, numbers, colours, profile, transparency }: Cell): Picture {
  const { kind, bits, store, fine } = kindOf(numbers);
  const isGrey = colours !== 'RGB' && colours !== 'palette';
  const byPalette = colours === 'palette';
  const hasAlpha = !['none', 'key'].includes(transparency);
  const inLevels: Store = (v) => Math.round(v * 255) / 255;
  const seen = PIXELS.slice(0, byPalette ? 2 ** bits : 8).map(([r, g, b, a], i) => {
    const opacity = hasAlpha ? fine(a) : transparency === 'key' && i === 2 ? 0 : 1;
    return [...(isGrey ? [r, r, r] : [r, g, b]).map(byPalette ? inLevels : fine), opacity];
  });
  if (transparency === 'key' && !byPalette) {
    // All pixels of the colour are meant, and few bits have few colours.
    for (const pixel of seen) if ([0, 1, 2].every((c) => pixel[c] === seen[2][c])) pixel[3] = 0;
  }
  const values = seen.flatMap(([r, g, b, a], i) => {
    const cover = transparency === 'premultiplied' ? a : 1;
    const stored = isGrey ? [colours === 'inverted grey' ? 1 - r : r] : [r, g, b];
    const extra = hasAlpha ? [store(a), ...(transparency === 'two channels' ? [store(0)] : [])] : [];
    return [...(byPalette ? [i] : stored.map((v) => store(v * cover))), ...extra];
  });
  const pixels = seen.map(([r, g, b, a]) => [...(profile === 'ICC' ? [r, g, b].map(encoded) : [r, g, b]), a]);
  const tolerance = profile === 'ICC' ? 3 : transparency === 'premultiplied' ? 2 : 1;

  const hasProfile = profile === 'ICC' || profile === 'unfit ICC';
  const icc = hasProfile ? linearProfile(isGrey === (profile === 'ICC') ? 'grey' : 'rgb') : undefined;
  const palette = byPalette ? seen.map(([r, g, b]) => [r, g, b].map((v) => Math.round(255 * v))) : undefined;
  const options = { width: seen.length, values, bits, icc };
  if (file === 'PNG') {
    const type = byPalette ? 'palette' : isGrey ? 'grey' : 'rgb';
    const key = byPalette ? seen.map(([, , , a]) => 255 * a) : values.slice(isGrey ? 2 : 6, isGrey ? 3 : 9);
    const bytes = rawPng({
      ...options,
      bits: bits as PngOptions['bits'],
      colours: hasAlpha ? (`${type}-alpha` as PngOptions['colours']) : type,
      palette,
      transparent: transparency === 'key' ? key : undefined,
      cicp: { 'cICP of sRGB': [1, 13, 0, 1], 'cICP of others': [9, 16, 0, 1] }[profile],
    });
    return { bytes, pixels, tolerance };
  }
  const bytes = tiff({
    ...options,
    kind,
    samples: values.length / seen.length,
    photometric: PHOTOMETRIC[colours],
    extra: EXTRA[transparency],
    palette: palette?.map(([r, g, b]) => [257 * r, 257 * g, 257 * b]),
  });
  return { bytes, pixels, tolerance };
}

const PHOTOMETRIC: Record<string, TiffOptions['photometric']> = {
  grey: 'black-is-zero',
  'inverted grey': 'white-is-zero',
  RGB: 'rgb',
  palette: 'palette',
};
const EXTRA: Record<string, TiffOptions['extra']> = {
  alpha: ['alpha'],
  unspecified: ['unspecified'],
  premultiplied: ['premultiplied'],
  'two channels': ['alpha', 'unspecified'],
};

/** The sRGB curve: the level of a part of white's light. */
function encoded(light: number): number {
  return light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055;
}

/** No ink, and all of the cyan. */
function cmykTiff({ numbers, transparency }: Cell): Picture {
  const { kind, bits, store } = kindOf(numbers);
  const hasAlpha = transparency === 'alpha';
  const inks = [
    [0, 0, 0, 0, 0.5],
    [1, 0, 0, 0, 1],
  ].map((ink) => ink.slice(0, hasAlpha ? 5 : 4).map(store));
  const options = { width: 2, values: inks.flat(), samples: inks[0].length, bits, kind, extra: EXTRA[transparency] };
  const pixels = [
    [1, 1, 1, hasAlpha ? 0.5 : 1],
    [0, 0.6, 0.89, 1],
  ];
  return { bytes: tiff({ ...options, photometric: 'cmyk' }), pixels, tolerance: 4 };
}

async function cmykJpeg({ profile }: Cell): Promise<Picture> {
  const image = sharp({ create: { width: 8, height: 1, channels: 3, background: '#786e64' } }).toColourspace('cmyk');
  if (profile === 'ICC') image.withIccProfile('cmyk');
  const bytes = await image.jpeg({ quality: 100 }).toBuffer();
  expect(await sharp(bytes).metadata()).toMatchObject({ space: 'cmyk', hasProfile: profile === 'ICC' });
  return { bytes, pixels: Array(8).fill([0.47, 0.43, 0.39, 1]), tolerance: 14 };
}

/** Black, the grey whose lightness is half of white's, white, and red, for D50. */
function lab({ numbers, transparency }: Cell): Picture {
  const { kind, bits } = kindOf(numbers);
  const top = 2 ** bits - 1;
  const values = [
    [0, 0, 0],
    [top / 2, 0, 0],
    [top, 0, 0],
    [0.532 * top, 80 * 256, 67 * 256],
  ];
  const extra = transparency === 'alpha' ? [top] : [];
  const stored = values.flatMap((value) =>
    [...value, ...extra].map((v) => (kind === 'float' ? v / top : Math.round(v))),
  );
  const options = { width: 4, values: stored, samples: 3 + extra.length, bits, kind, extra: EXTRA[transparency] };
  const greys = [0, 0.466, 1].map((v) => [v, v, v, 1]);
  return { bytes: tiff({ ...options, photometric: 'lab' }), pixels: [...greys, [1, 0, 0, 1]], tolerance: 3 };
}

/** What sharp writes, and may have to round. */
async function fromSharp({ file, colours, profile, transparency }: Cell): Promise<Picture> {
  const opacity: Store = transparency === 'key' ? (a) => Math.round(a) : transparency === 'alpha' ? (a) => a : () => 1;
  // A profile and a lossy file do not go together in the dark, where a number of the file is many levels.
  const lighter: Store = (v) => (file === 'JPEG' ? 0.4 + 0.6 * v : v);
  const seen = PIXELS.map(([r, g, b, a]) => [
    ...(colours === 'grey' ? [r, r, r] : [r, g, b]).map((v) => Math.round(255 * lighter(v)) / 255),
    opacity(a),
  ]);
  const levels = Uint8Array.from(seen.flat(), (v) => Math.round(255 * v));
  const image = sharp(levels, { raw: { width: 8, height: 1, channels: 4 } });
  if (file === 'JPEG') {
    const space = colours === 'grey' ? 'b-w' : 'srgb';
    const jpeg = image.removeAlpha().toColourspace(space).jpeg({ quality: 100, chromaSubsampling: '4:4:4' });
    const plain = await jpeg.toBuffer();
    if (profile === 'none') return { bytes: plain, pixels: seen, tolerance: 6 };
    const bytes = withSegment(plain, linearProfile(colours === 'grey' ? 'grey' : 'rgb'));
    expect(await sharp(bytes).metadata()).toMatchObject({ space, hasProfile: true });
    return { bytes, pixels: seen.map(([r, g, b, a]) => [...[r, g, b].map(encoded), a]), tolerance: 8 };
  }
  if (transparency === 'none') image.removeAlpha();
  // Display P3 has other numbers for the same colours.
  if (profile === 'ICC') image.withIccProfile('p3');
  const format = file.toLowerCase() as 'webp' | 'avif' | 'gif';
  const bytes = await image.toFormat(format, { lossless: true, effort: 2 }).toBuffer();
  expect((await sharp(bytes).metadata()).hasProfile).toBe(profile === 'ICC');
  return { bytes, pixels: seen, tolerance: 3 };
}

/** A JPEG with a colour profile behind its head. */
function withSegment(jpeg: Buffer, icc: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), icc]);
  const head = Buffer.from([0xff, 0xe2, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)]);
}

describe('TIFF of floats', () => {
  const float = (values: number[], options: Partial<TiffOptions> = {}) =>
    tiff({
      width: values.length,
      values,
      samples: 1,
      bits: 32,
      kind: 'float',
      photometric: 'black-is-zero',
      ...options,
    });

  test.each([
    ['above 1', [0.5, 255], {}, 'TIFF of float32 numbers: expected 0 to 1, got 255'],
    ['below 0', [0.5, -0.001], {}, 'TIFF of float32 numbers: expected 0 to 1, got -0.001'],
    ['not a number', [0.5, Number.NaN], {}, 'TIFF of float32 numbers: expected 0 to 1, got NaN'],
    ['above 1 in 16 bits', [0.5, 1.25], { bits: 16 }, 'TIFF of float16 numbers: expected 0 to 1, got 1.25'],
    ['infinite in 16 bits', [0.5, Infinity], { bits: 16 }, 'TIFF of float16 numbers: expected 0 to 1, got '],
    ['not a number in 16 bits', [Number.NaN, 0.5], { bits: 16 }, 'TIFF of float16 numbers: expected 0 to 1, got '],
  ] as const)('%s', async (_, values, options, message) => {
    put(path('a.tif'), float([...values], options));
    expect((await rejection(imageFolder(path(), { size: 1 }))).message).toContain(`\n  a.tif: ${message}`);
  });

  test('of RGB is refused too where one channel is beyond', async () => {
    put(path('a.tif'), float([0, 128, 255], { width: 1, samples: 3, photometric: 'rgb' }));
    const { message } = await rejection(imageFolder(path(), { size: 1 }));
    expect(message).toContain('\n  a.tif: TIFF of float32 numbers: expected 0 to 1, got 128');
  });

  test.each([
    ['the other order of bytes', { bigEndian: true }],
    ['a BigTIFF', { big: true }],
    ['a BigTIFF in the other order of bytes', { big: true, bigEndian: true }],
  ])('in %s', async (_, options) => {
    put(path('a.tif'), float([0, 0.2, 0.6, 1], { photometric: 'white-is-zero', ...options }));
    const { data } = (await imageFolder(path(), { height: 1, width: 4, channels: 1 })).image(0);
    expect([...data]).toEqual([255, 204, 102, 0]);
  });
});

test('what is refused is named by its form', async () => {
  const options = { width: 1, kind: 'int', bits: 16 } as const;
  put(path('a.tif'), tiff({ ...options, values: [0, 0, 0, 0], samples: 4, photometric: 'cmyk' }));
  const extra = ['premultiplied'] as const;
  put(path('b.tif'), tiff({ ...options, values: [0, 0], samples: 2, photometric: 'black-is-zero', extra }));
  const { message } = await rejection(imageFolder(path(), { size: 1 }));
  expect(message.split('\n').slice(1)).toEqual([
    '  a.tif: TIFF of int16 numbers, CMYK, 4 channels: not supported',
    '  b.tif: TIFF of int16 numbers, grey, 2 channels, colours multiplied by their opacity: not supported',
  ]);
});

test.each([1, 2])('colours under an opacity of 0 are gone, scaled by %i or not', async (scale) => {
  const values = Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? [200, 100, 50, 0] : [10, 20, 30, 255])).flat();
  put(path('a.png'), rawPng({ width: 8, values, bits: 8, colours: 'rgb-alpha' }));
  const size = 8 / scale;
  const { data } = (await imageFolder(path(), { size, channels: 4 })).image(0);
  expect([...data.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
  expectClose(data.subarray(4 * (size - 1), 4 * size), [10, 20, 30, 255], 1);
});

test('a picture of other numbers is turned upright and scaled like any other', async () => {
  const ramp = Array.from({ length: 16 * 16 }, (_, i) => (i % 16) / 15);
  put(
    path('a.tif'),
    tiff({ width: 16, values: ramp, samples: 1, bits: 32, kind: 'float', photometric: 'black-is-zero' }),
  );
  const levels = ramp.map((v) => Math.round(65535 * v));
  put(path('b.png'), rawPng({ width: 16, values: levels, bits: 16, colours: 'grey' }));
  const dataset = await imageFolder(path(), { size: 8, channels: 1 });
  expectClose(dataset.image(0).data, dataset.image(1).data, 0);
});
