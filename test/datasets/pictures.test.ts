/** What becomes of one picture file, kind by kind. */
import sharp from 'sharp';
import { type ImageFolderOptions, imageFolder } from '../../lib/datasets';
import { bytesOf, expectClose, flat, pixel, png, put, rejection, useFolder, withProfile } from './support';

const path = useFolder();

/** The levels of the only picture, in a folder of its own. */
async function levelsOf(name: string, bytes: Uint8Array | string, options: ImageFolderOptions): Promise<Uint8Array> {
  put(path(name), bytes);
  const dataset = await imageFolder(path(), options);
  expect(dataset.sources).toEqual([name]);
  return dataset.image(0).data;
}

describe('levels', () => {
  test('RGB of the right size comes through unchanged', async () => {
    const values = bytesOf(6 * 4 * 3);
    const levels = await levelsOf('a.png', await png(values, 6, 3), { height: 4, width: 6 });
    expect([...levels]).toEqual([...values]);
  });

  test('all 256 levels of grey come through unchanged, as grey and as RGB', async () => {
    const values = Uint8Array.from({ length: 256 }, (_, i) => i);
    const picture = await png(values, 16, 1);
    expect([...(await levelsOf('a.png', picture, { size: 16, channels: 1 }))]).toEqual([...values]);
    const rgb = [...values].flatMap((v) => [v, v, v]);
    expect([...(await levelsOf('a.png', picture, { size: 16, channels: 3 }))]).toEqual(rgb);
  });

  test('RGB becomes grey by its luminance in linear light', async () => {
    const picture = await png(Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 90, 90, 90), 2, 3);
    expectClose(await levelsOf('a.png', picture, { size: 2, channels: 1 }), [127, 220, 76, 90], 1);
  });

  test('a palette and an alpha channel that is not asked for', async () => {
    const values = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30);
    const palette = await sharp(values, { raw: { width: 2, height: 2, channels: 3 } })
      .png({ palette: true })
      .toBuffer();
    expect([...(await levelsOf('a.png', palette, { size: 2 }))]).toEqual([...values]);
  });

  test.each(['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const)('%s', async (format) => {
    const picture = await flat('#c83214', 16).toFormat(format).toBuffer();
    const levels = await levelsOf(`a.${format}`, picture, { size: 8 });
    expectClose(levels, Array.from({ length: 64 }, () => [200, 50, 20]).flat(), 6);
  });

  test('a CMYK JPEG', async () => {
    const picture = await flat('#ff0000').toColourspace('cmyk').jpeg().toBuffer();
    expect((await sharp(picture).metadata()).space).toBe('cmyk');
    const levels = await levelsOf('a.jpg', picture, { size: 8 });
    expectClose(pixel(levels, 8, 4, 4), [232, 0, 0], 6);
  });
});

describe('16 bits become v / 257, rounded', () => {
  const steps = Uint16Array.of(0, 128, 129, 255, 256, 257, 500, 32767, 32896, 64900, 65279, 65535);
  const expected = [...steps].map((v) => Math.round(v / 257));

  test('grey', async () => {
    const picture = await png(steps, 4, 1);
    expect((await sharp(picture).metadata()).depth).toBe('ushort');
    expect([...(await levelsOf('a.png', picture, { height: 3, width: 4, channels: 1 }))]).toEqual(expected);
    const rgb = expected.flatMap((v) => [v, v, v]);
    expect([...(await levelsOf('a.png', picture, { height: 3, width: 4 }))]).toEqual(rgb);
  });

  test('RGB', async () => {
    const picture = await png(steps, 2, 3);
    expect([...(await levelsOf('a.png', picture, { size: 2 }))]).toEqual(expected);
  });

  test('RGB as grey', async () => {
    const picture = await png(Uint16Array.of(65535, 0, 0, 64900, 64900, 64900), 2, 3);
    expectClose(await levelsOf('a.png', picture, { height: 1, width: 2, channels: 1 }), [127, 253], 0);
  });

  test('RGB with an sRGB profile stays sRGB', async () => {
    const picture = await withProfile(await png(steps, 2, 3));
    expect((await sharp(picture).metadata()).hasProfile).toBe(true);
    expectClose(await levelsOf('a.png', picture, { size: 2 }), expected, 1);
  });

  test('transparent parts over white are white, not nearly so', async () => {
    const picture = await png(Uint16Array.of(0, 0, 0, 0, 65535, 0, 0, 65535), 2, 4);
    expect([...(await levelsOf('a.png', picture, { height: 1, width: 2 }))]).toEqual([255, 255, 255, 255, 0, 0]);
  });

  test('a TIFF', async () => {
    const values = { raw: { width: 4, height: 3, channels: 1 } } as const;
    const picture = await sharp(steps, values).toColourspace('grey16').tiff({ compression: 'none' }).toBuffer();
    expect([...(await levelsOf('a.tif', picture, { height: 3, width: 4, channels: 1 }))]).toEqual(expected);
  });
});

describe('transparency', () => {
  const rgba = Uint8Array.of(10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 102, 200, 100, 0, 51);

  test('lies over white where nothing is said', async () => {
    const levels = await levelsOf('a.png', await png(rgba, 2, 4), { size: 2 });
    expect([...levels]).toEqual([255, 255, 255, 10, 20, 30, 153, 153, 153, 244, 224, 204]);
  });

  test('lies over the colour that is asked for', async () => {
    const levels = await levelsOf('a.png', await png(rgba, 2, 4), { size: 2, background: '#f80' });
    expect([...levels]).toEqual([255, 136, 0, 10, 20, 30, 153, 82, 0, 244, 129, 0]);
  });

  test('of a grey picture lies over a colour too', async () => {
    const picture = await png(Uint8Array.of(100, 0, 100, 255, 0, 102), 3, 2);
    const levels = await levelsOf('a.png', picture, { height: 1, width: 3, background: '#ff8800' });
    expect([...levels]).toEqual([255, 136, 0, 100, 100, 100, 153, 82, 0]);
  });

  test('lies over the grey of the colour in one channel', async () => {
    const picture = await png(Uint8Array.of(100, 0, 100, 255), 2, 2);
    const levels = await levelsOf('a.png', picture, { height: 1, width: 2, channels: 1, background: '#ff0000' });
    expect([...levels]).toEqual([127, 100]);
  });

  test('is kept in four channels, but for colours that cannot be seen', async () => {
    const levels = await levelsOf('a.png', await png(rgba, 2, 4), { size: 2, channels: 4 });
    expect([...levels]).toEqual([0, 0, 0, 0, ...rgba.subarray(4)]);
  });

  test('is none in four channels of an opaque picture', async () => {
    const picture = await png(Uint8Array.of(1, 2, 3, 4, 5, 6), 2, 3);
    const levels = await levelsOf('a.png', picture, { height: 1, width: 2, channels: 4 });
    expect([...levels]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
  });

  test('leaves no dark rim where a picture is scaled', async () => {
    // Red next to transparent black: mixed as they are, the edge would be dark.
    const values = Array.from({ length: 16 * 16 }, (_, i) => (i % 16 < 7 ? [255, 0, 0, 255] : [0, 0, 0, 0])).flat();
    const picture = await png(Uint8Array.from(values), 16, 4);
    const levels = await levelsOf('a.png', picture, { size: 4, background: '#f00' });
    for (let x = 0; x < 4; x++) expectClose(pixel(levels, 4, x, 2), [255, 0, 0], 2);
  });
});

describe('SVG', () => {
  /** The left half is black, the rest is transparent. */
  const halves = (attributes: string) =>
    `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}><path d="M0 0H2V4H0z" fill="#000"/></svg>`;
  const row = [...Array(16).fill(0), ...Array(16).fill(255)];

  test.each([
    ['without a size', 'viewBox="0 0 4 4"'],
    ['of four pixels', 'width="4" height="4" viewBox="0 0 4 4"'],
    ['of one pixel', 'width="1" height="1" viewBox="0 0 4 4"'],
    ['in millimetres', 'width="1mm" height="1mm" viewBox="0 0 4 4"'],
    ['beyond the limit on pixels', 'width="30000" height="30000" viewBox="0 0 4 4"'],
  ])('%s is drawn at the size asked for, with sharp edges', async (_, attributes) => {
    const levels = await levelsOf('a.svg', halves(attributes), { size: 32, channels: 1 });
    expect([...levels]).toEqual(Array.from({ length: 32 }, () => row).flat());
  });

  test('keeps its proportions also where it is a few pixels large', async () => {
    const wide = `<svg xmlns="http://www.w3.org/2000/svg" width="1.5" height="1" viewBox="0 0 3 2">
      <path d="M0 0H1.5V2H0z" fill="#000"/></svg>`;
    const levels = await levelsOf('a.svg', wide, { height: 32, width: 48, channels: 1 });
    expect([...levels.subarray(0, 48)]).toEqual([...Array(24).fill(0), ...Array(24).fill(255)]);
  });

  test('that is cut short is unreadable', async () => {
    put(path('a.svg'), halves('viewBox="0 0 4 4"').slice(0, 70));
    expect((await rejection(imageFolder(path(), { size: 8 }))).message).toMatch(/ {2}a\.svg: .*XML parse error/);
  });
});

test.each(['gif', 'webp'] as const)('the first frame of an animated %s', async (format) => {
  const frames = await Promise.all(['#ff0000', '#00ff00', '#0000ff'].map((colour) => flat(colour).png().toBuffer()));
  const animation = await sharp(frames, { join: { animated: true } })
    .toFormat(format)
    .toBuffer();
  expect((await sharp(animation).metadata()).pages).toBe(3);
  expectClose(pixel(await levelsOf(`a.${format}`, animation, { size: 8 }), 8, 4, 4), [255, 0, 0], 4);
});

describe('EXIF orientation', () => {
  /** Corners of the upright picture, 12 wide and 8 high. */
  const corners = [
    [250, 10, 10],
    [10, 250, 10],
    [10, 10, 250],
    [250, 250, 10],
  ];
  const upright = (x: number, y: number) => corners[(y < 4 ? 0 : 2) + (x < 6 ? 0 : 1)];
  /** For each orientation, where the upright pixel (x, y) is stored. */
  const stored: Record<number, (x: number, y: number) => [number, number]> = {
    1: (x, y) => [x, y],
    2: (x, y) => [11 - x, y],
    3: (x, y) => [11 - x, 7 - y],
    4: (x, y) => [x, 7 - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, 11 - x],
    7: (x, y) => [7 - y, 11 - x],
    8: (x, y) => [7 - y, x],
  };

  test.each(Object.keys(stored).map(Number))('%i', async (orientation) => {
    const [width, height] = orientation < 5 ? [12, 8] : [8, 12];
    const values = new Uint8Array(width * height * 3);
    const expected: number[] = [];
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 12; x++) {
        const [storedX, storedY] = stored[orientation](x, y);
        values.set(upright(x, y), 3 * (storedY * width + storedX));
        expected.push(...upright(x, y));
      }
    }
    const picture = await sharp(values, { raw: { width, height, channels: 3 } })
      .withMetadata({ orientation })
      .jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
      .toBuffer();
    expectClose(await levelsOf('a.jpg', picture, { height: 8, width: 12 }), expected, 12);
  });
});

describe('fitting', () => {
  /** Red, green and blue stripes, each as wide as the picture is high. */
  async function stripes(): Promise<Buffer> {
    const colours = [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
    ];
    const values = Array.from({ length: 24 * 72 }, (_, i) => colours[Math.floor((i % 72) / 24)]).flat();
    return png(Uint8Array.from(values), 72, 3);
  }

  test('cover cuts off both ends alike', async () => {
    const levels = await levelsOf('a.png', await stripes(), { size: 8 });
    // Lanczos3 lets a little of the neighbours in at the edges.
    expectClose(levels, Array.from({ length: 64 }, () => [0, 255, 0]).flat(), 20);
  });

  test('contain shows all of it between bars', async () => {
    const options = { height: 12, width: 9, fit: 'contain', background: '#102030' } as const;
    const levels = await levelsOf('a.png', await stripes(), options);
    for (let y = 0; y < 12; y++) {
      const inside = y === 4 || y === 5 || y === 6;
      expectClose(pixel(levels, 9, 1, y), inside ? [255, 0, 0] : [16, 32, 48], 8);
      expectClose(pixel(levels, 9, 7, y), inside ? [0, 0, 255] : [16, 32, 48], 8);
    }
  });

  test('contain has transparent bars in four channels', async () => {
    const levels = await levelsOf('a.png', await stripes(), { size: 9, fit: 'contain', channels: 4 });
    expect([...levels.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    expectClose(levels.subarray(4 * (4 * 9 + 1), 4 * (4 * 9 + 2)), [255, 0, 0, 255], 8);
  });

  test('fill stretches it', async () => {
    const levels = await levelsOf('a.png', await stripes(), { size: 9, fit: 'fill' });
    expectClose(pixel(levels, 9, 1, 0), [255, 0, 0], 8);
    expectClose(pixel(levels, 9, 4, 4), [0, 255, 0], 8);
    expectClose(pixel(levels, 9, 7, 8), [0, 0, 255], 8);
  });

  test('a picture that is smaller is enlarged', async () => {
    const levels = await levelsOf('a.png', await flat('#0a141e', 2).png().toBuffer(), { size: 16 });
    expectClose(levels, Array.from({ length: 256 }, () => [10, 20, 30]).flat(), 0);
  });
});

describe('unreadable', () => {
  test('an empty file', async () => {
    put(path('a.png'), '');
    expect((await rejection(imageFolder(path(), { size: 8 }))).message).toMatch(/\n {2}a\.png: the file is empty$/);
  });

  test('a text file that is called a picture', async () => {
    put(path('a.png'), 'no picture at all\n');
    expect((await rejection(imageFolder(path(), { size: 8 }))).message).toMatch(
      / {2}a\.png: .*unsupported image format/,
    );
  });

  test.each(['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const)('a %s that is cut short', async (format) => {
    const whole = await sharp(bytesOf(64 * 64 * 3), { raw: { width: 64, height: 64, channels: 3 } })
      .toFormat(format)
      .toBuffer();
    put(path(`whole.${format}`), whole);
    put(path(`cut.${format}`), whole.subarray(0, Math.floor(0.7 * whole.length)));
    const dataset = await imageFolder(path(), { size: 8, onUnreadable: 'skip' });
    expect(dataset.sources).toEqual([`whole.${format}`]);
    expect(dataset.skipped.map(({ file }) => file)).toEqual([`cut.${format}`]);
  });

  test('a picture in a format without a decoder is named, not overlooked', async () => {
    put(path('a.bmp'), Buffer.from('BM0000000000000000000000'));
    expect((await rejection(imageFolder(path(), { size: 8 }))).message).toMatch(
      / {2}a\.bmp: .*unsupported image format/,
    );
  });
});
