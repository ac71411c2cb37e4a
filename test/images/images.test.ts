import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { type GridOptions, Images, type ImagesContents } from '../../lib/images';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-images-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const path = (...parts: string[]) => join(folder, ...parts);

/** Levels in which every value differs from its neighbours. */
const levels = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 37) % 256);

/** What a picture file holds: its levels, as they are. */
async function decoded(file: Uint8Array | string) {
  const { format, space } = await sharp(file).metadata();
  const colours = space === 'b-w' ? 'b-w' : 'srgb';
  const { data, info } = await sharp(file).toColourspace(colours).raw().toBuffer({ resolveWithObject: true });
  return { format, space, height: info.height, width: info.width, channels: info.channels, data: [...data] };
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('expected a rejection');
    },
    (error) => error,
  );
}

describe('png', () => {
  test.each([1, 3, 4])('holds exactly the levels of %i channels', async (channels) => {
    const data = levels(2 * 4 * 5 * channels);
    const images = new Images({ data, count: 2, height: 4, width: 5, channels });
    const space = channels === 1 ? 'b-w' : 'srgb';
    for (const i of [0, 1]) {
      const expected = [...data.subarray(i * 20 * channels, (i + 1) * 20 * channels)];
      expect(await decoded(await images.png(i))).toEqual({
        format: 'png',
        space,
        height: 4,
        width: 5,
        channels,
        data: expected,
      });
    }
    expect(await images.png()).toEqual(await images.png(0));
  });

  test('holds exactly the levels of grey and alpha', async () => {
    const data = levels(3 * 3 * 2);
    const png = await new Images({ data, count: 1, height: 3, width: 3, channels: 2 }).png();
    expect(await sharp(png).metadata()).toMatchObject({ space: 'b-w', channels: 2 });
    const rgba = Array.from({ length: 9 }, (_, i) => [data[2 * i], data[2 * i], data[2 * i], data[2 * i + 1]]).flat();
    expect((await decoded(await sharp(png).toColourspace('srgb').png().toBuffer())).data).toEqual(rgba);
  });

  test('a ramp of all 256 levels goes to [-1, 1] and back unchanged', async () => {
    const ramp = Array.from({ length: 256 }, (_, level) => level);
    const data = Float32Array.from(ramp, (level) => level / 127.5 - 1);
    const images = new Images({ data, count: 1, height: 16, width: 16, channels: 1 });
    expect((await decoded(await images.png())).data).toEqual(ramp);
  });

  test('floats come from planes, are rounded, and clamped', async () => {
    const data = Float32Array.of(-1, -0.999, 1, 1.7, 0, 0.004, -40, 0.9999);
    const images = new Images({ data, count: 1, height: 1, width: 2, channels: 4 });
    expect((await decoded(await images.png())).data).toEqual([0, 255, 128, 0, 0, 255, 128, 255]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    '%d is an error, never a picture',
    async (x) => {
      const data = new Float32Array(2 * 3 * 4 * 5);
      data[60 + 20 + 7] = x;
      const images = new Images({ data, count: 2, height: 4, width: 5, channels: 3 });
      await expect(images.png(0)).resolves.toBeInstanceOf(Buffer);
      const error = await rejection(images.png(1));
      expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_NON_FINITE' });
      expect(error.message).toBe(`Cannot make a picture: image 1 has ${x} at row 1, column 2, channel 1`);
      await expect(images.save(path('{index}.png'))).rejects.toMatchObject({ code: 'ERR_NON_FINITE' });
      await expect(images.grid().png()).rejects.toMatchObject({ code: 'ERR_NON_FINITE' });
      expect(await readdir(folder)).toEqual(['0.png']);
    },
  );

  test('an image that is not there', async () => {
    const images = new Images({ data: levels(2), count: 2, height: 1, width: 1, channels: 1 });
    for (const index of [-1, 2, 0.5, Number.NaN]) {
      const error = await rejection(images.png(index));
      expect(error).toMatchObject({
        code: 'ERR_CONFIG',
        message: `index: expected an integer from 0 to 1, got ${index} (number)`,
      });
      expect(() => images.at(index)).toThrow(error.message);
    }
  });
});

describe('one of the images', () => {
  test.each([
    ['levels', levels(24)],
    ['floats', Float32Array.from(levels(24), (level) => level / 127.5 - 1)],
  ])('of %s is over the same memory', (_, data) => {
    const images = new Images({ data, count: 2, height: 2, width: 2, channels: 3, seed: 7 });
    const one = images.at(1);
    expect(one).toMatchObject({ count: 1, height: 2, width: 2, channels: 3, seed: 7 });
    expect([...one.data]).toEqual([...data.subarray(12)]);
    expect(one.data.buffer).toBe(data.buffer);
    expect([...images].map((image) => [...image.data])).toEqual([[...data.subarray(0, 12)], [...data.subarray(12)]]);
  });
});

describe('save', () => {
  const several = (count: number) => new Images({ data: levels(count * 12), count, height: 2, width: 2, channels: 3 });

  test('numbers the files with as many digits as the last one has, and makes folders', async () => {
    const files = await several(11).save(path('a', 'b', 'picture-{index}.png'));
    const names = Array.from({ length: 11 }, (_, i) => `picture-${String(i).padStart(2, '0')}.png`);
    expect(files).toEqual(names.map((name) => path('a', 'b', name)));
    expect((await readdir(path('a', 'b'))).sort()).toEqual(names);
    for (const [i, file] of files.entries()) {
      expect((await decoded(file)).data).toEqual([...levels(11 * 12).subarray(i * 12, (i + 1) * 12)]);
    }
    expect(await several(10).save(path('{index}.png'))).toEqual(Array.from({ length: 10 }, (_, i) => path(`${i}.png`)));
  });

  test('one image with and without a number, and the number in a folder', async () => {
    expect(await several(1).save(path('one.png'))).toEqual([path('one.png')]);
    expect(await several(1).save(path('{index}.png'))).toEqual([path('0.png')]);
    expect(await several(2).save(path('{index}', 'p{index}.png'))).toEqual([path('0', 'p0.png'), path('1', 'p1.png')]);
  });

  test.each([
    ['.png', 'png', 0],
    ['.PNG', 'png', 0],
    ['.webp', 'webp', 0],
    ['.tif', 'tiff', 0],
    ['.tiff', 'tiff', 0],
    ['.jpg', 'jpeg', 12],
    ['.jpeg', 'jpeg', 12],
    ['.avif', 'heif', 12],
  ])('%s', async (suffix, format, tolerance) => {
    const data = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => [200, 60 + Math.floor(i / 48), 30][i % 3]);
    const [file] = await new Images({ data, count: 1, height: 16, width: 16, channels: 3 }).save(path(`a${suffix}`));
    const picture = await decoded(file);
    expect(picture).toMatchObject({ format, height: 16, width: 16, channels: 3 });
    const worst = Math.max(...picture.data.map((value, i) => Math.abs(value - data[i])));
    expect(worst).toBeLessThanOrEqual(tolerance);
  });

  test.each(['.png', '.webp', '.tif'])('%s keeps what is under transparent parts', async (suffix) => {
    const data = Uint8Array.of(10, 20, 30, 0, 40, 50, 60, 128);
    const [file] = await new Images({ data, count: 1, height: 1, width: 2, channels: 4 }).save(path(`a${suffix}`));
    expect((await decoded(file)).data).toEqual([...data]);
  });

  test('.jpg lays transparent parts over white', async () => {
    const data = new Uint8Array(8 * 8 * 4);
    const [file] = await new Images({ data, count: 1, height: 8, width: 8, channels: 4 }).save(path('a.jpg'));
    expect(new Set((await decoded(file)).data)).toEqual(new Set([255]));
  });

  test('replaces a file, and leaves no other behind', async () => {
    writeFileSync(path('a.png'), 'old');
    await several(1).save(path('a.png'));
    expect(await readdir(folder)).toEqual(['a.png']);
    expect(readFileSync(path('a.png')).subarray(1, 4).toString()).toBe('PNG');
  });

  test.each<[number, unknown, RegExp]>([
    [1, undefined, /^pattern: expected a path, got undefined \(undefined\)$/],
    [1, '', /^pattern: expected a path, got '' \(string\)$/],
    [1, 'a', /^pattern: expected a file name that ends in \.png, .*\.tiff, got 'a' \(string\)$/],
    [1, 'a.bmp', /^pattern: expected a file name that ends in \.png, .*, got 'a\.bmp' \(string\)$/],
    [2, 'a.png', /^pattern: expected a file name with \{index\} in it for 2 images, got 'a\.png' \(string\)$/],
  ])('%i images as %p', async (count, pattern, message) => {
    const error = await rejection(several(count).save(pattern as string));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message: expect.stringMatching(message) });
  });

  test('a place that cannot be written to', async () => {
    writeFileSync(path('file'), '');
    for (const place of [path('file', 'a.png'), path('file', 'b', 'a.png')]) {
      await expect(several(1).save(place)).rejects.toMatchObject({ name: 'DdpmError', code: 'ERR_IO' });
    }
    expect(await readdir(folder)).toEqual(['file']);
  });
});

describe('grid', () => {
  /** Rows of a grey image. */
  const rowsOf = ({ data, width }: Images) =>
    Array.from({ length: data.length / width }, (_, y) => [...data.subarray(y * width, (y + 1) * width)]);

  const grey = new Images({ data: levels(3 * 2), count: 3, height: 1, width: 2, channels: 1, seed: 5 });

  test('levels', () => {
    const grid = grey.grid({ columns: 2, padding: 1, background: '#808080' });
    expect(grid).toMatchObject({ count: 1, height: 5, width: 7, channels: 1, seed: 5 });
    const b = 128;
    expect(rowsOf(grid)).toEqual([
      [b, b, b, b, b, b, b],
      [b, 0, 37, b, 74, 111, b],
      [b, b, b, b, b, b, b],
      [b, 148, 185, b, b, b, b],
      [b, b, b, b, b, b, b],
    ]);
  });

  test('pixels of several channels', () => {
    const data = levels(2 * 4);
    const grid = new Images({ data, count: 2, height: 1, width: 1, channels: 4 }).grid({
      padding: 1,
      background: '#102030',
    });
    const b = [16, 32, 48, 255];
    const row = (...pixels: number[][]) => pixels.flat();
    expect([...grid.data]).toEqual([
      ...row(b, b, b, b, b),
      ...row(b, [...data.subarray(0, 4)], b, [...data.subarray(4)], b),
      ...row(b, b, b, b, b),
    ]);
  });

  test.each([1, 2, 3, 4])('floats of %i channels give the picture that their levels give', async (channels) => {
    const data = levels(5 * 3 * 4 * channels);
    const planes = new Float32Array(data.length);
    for (const [i, level] of data.entries()) {
      const [image, pixel, c] = [Math.floor(i / (12 * channels)), Math.floor(i / channels) % 12, i % channels];
      planes[(image * channels + c) * 12 + pixel] = level / 127.5 - 1;
    }
    const shape = { count: 5, height: 3, width: 4, channels };
    const options = { columns: 3, padding: 2, background: '#e01040' };
    const expected = new Images({ data, ...shape }).grid(options);
    const grid = new Images({ data: planes, ...shape }).grid(options);
    expect(grid.data).toBeInstanceOf(Float32Array);
    expect(await grid.png()).toEqual(await expected.png());
  });

  test('is as square as it can be, with white between, where nothing is said', () => {
    const images = (count: number) => new Images({ data: levels(count * 16), count, height: 4, width: 4, channels: 1 });
    expect(
      [1, 2, 3, 4, 5, 9, 10]
        .map((count) => images(count).grid({ padding: 0 }))
        .map(({ width, height }) => [width / 4, height / 4]),
    ).toEqual([
      [1, 1],
      [2, 1],
      [2, 2],
      [2, 2],
      [3, 2],
      [3, 3],
      [4, 3],
    ]);
    const grid = images(4).grid();
    expect(grid).toMatchObject({ height: 14, width: 14 });
    expect([...grid.data.subarray(0, 14)]).toEqual(Array(14).fill(255));
  });

  test('more columns than images make no empty ones', () => {
    expect(grey.grid({ columns: 100, padding: 0 })).toMatchObject({ height: 1, width: 6 });
  });

  test('is saved and encoded like any image', async () => {
    const grid = grey.grid({ padding: 3 });
    expect(await grid.save(path('grid.png'))).toEqual([path('grid.png')]);
    expect((await decoded(path('grid.png'))).data).toEqual([...grid.data]);
  });

  test.each<[unknown, string]>([
    [{ columns: 0 }, 'columns: expected a positive integer, got 0 (number)'],
    [{ padding: -1 }, 'padding: expected an integer from 0 to 1024, got -1 (number)'],
    [{ background: 'white' }, "background: expected a colour as '#rgb' or '#rrggbb', got 'white' (string)"],
    [{ colums: 2 }, "colums: unknown option; did you mean 'columns'? Known: columns, padding, background"],
    [7, 'options: expected an object, got 7 (number)'],
  ])('%j', (options, message) => {
    expect(() => grey.grid(options as GridOptions)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG', message }));
  });
});

test.each<[Partial<Record<keyof ImagesContents, unknown>>, string]>([
  [{ data: [1, 2, 3] }, 'data: expected a Uint8Array or a Float32Array, got [ 1, 2, 3 ] (array)'],
  [{ data: new Uint8Array(11) }, 'data.length: expected 12 (1 images of 2×2×3), got 11 (number)'],
  [{ count: 0 }, 'count: expected a positive integer, got 0 (number)'],
  [{ channels: 5 }, 'channels: expected an integer from 1 to 4, got 5 (number)'],
  [{ height: 0.5 }, 'height: expected a positive integer, got 0.5 (number)'],
])('wrong contents: %j', (contents, message) => {
  const right = { data: new Uint8Array(12), count: 1, height: 2, width: 2, channels: 3 };
  expect(() => new Images({ ...right, ...contents } as ImagesContents)).toThrow(
    expect.objectContaining({ name: 'DdpmError', code: 'ERR_CONFIG', message }),
  );
});
