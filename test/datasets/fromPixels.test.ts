import { type FromPixelsOptions, fromPixels, type Pixels } from '../../lib/datasets';
import { bytesOf, rejection } from './support';

const shape = { height: 2, width: 3, channels: 3 };
const size = 18;

/** [n, H, W, C] as [n, C, H, W]. */
function planar<T extends Uint8Array | Float32Array>(pixels: T, channels: number, imageSize: number): T {
  const plane = imageSize / channels;
  return pixels.map((_, i) => {
    const within = i % imageSize;
    const [c, at] = [Math.floor(within / plane), within % plane];
    return pixels[i - within + at * channels + c];
  }) as T;
}

describe('levels', () => {
  test.each([
    ['Uint8Array', bytesOf(5 * size)],
    ['Uint8ClampedArray', Uint8ClampedArray.from(bytesOf(5 * size))],
    ['Buffer', Buffer.from(bytesOf(5 * size))],
  ])('of a %s come through unchanged', async (_, pixels) => {
    const dataset = await fromPixels(pixels, { count: 5, ...shape });
    expect(dataset).toMatchObject({ count: 5, ...shape, skipped: [] });
    expect(dataset.sources).toBeUndefined();
    for (let i = 0; i < 5; i++) {
      expect([...dataset.image(i).data]).toEqual([...pixels.subarray(i * size, (i + 1) * size)]);
    }
  });

  test('in planes', async () => {
    const pixels = bytesOf(4 * size);
    const options = { count: 4, ...shape, layout: 'NCHW' } as const;
    const dataset = await fromPixels(planar(pixels, 3, size), options);
    for (let i = 0; i < 4; i++) {
      expect([...dataset.image(i).data]).toEqual([...pixels.subarray(i * size, (i + 1) * size)]);
    }
  });

  test('of more images than are copied at once', async () => {
    const pixels = bytesOf(60_000 * size);
    const dataset = await fromPixels(pixels, { count: 60_000, ...shape });
    for (const i of [0, 58_253, 58_254, 59_999]) {
      expect([...dataset.image(i).data]).toEqual([...pixels.subarray(i * size, (i + 1) * size)]);
    }
  });

  test('are copied', async () => {
    const pixels = bytesOf(size);
    const dataset = await fromPixels(pixels, { count: 1, ...shape });
    const before = [...pixels];
    pixels.fill(0);
    expect([...dataset.image(0).data]).toEqual(before);
  });
});

describe('floats', () => {
  test('all 256 levels go to [-1, 1] and back', async () => {
    const ramp = Float32Array.from({ length: 256 }, (_, level) => level / 127.5 - 1);
    const dataset = await fromPixels(ramp, { count: 1, height: 16, width: 16, channels: 1 });
    expect([...dataset.image(0).data]).toEqual(Array.from({ length: 256 }, (_, level) => level));
  });

  test('become the nearest level', async () => {
    const floats = Float32Array.of(-1, -0.9999, -0.993, 0, 0.004, 1);
    const dataset = await fromPixels(floats, { count: 1, height: 2, width: 3, channels: 1 });
    expect([...dataset.image(0).data]).toEqual([0, 0, 1, 128, 128, 255]);
  });

  test('in planes', async () => {
    const levels = bytesOf(3 * size);
    const floats = Float32Array.from(levels, (level) => level / 127.5 - 1);
    const dataset = await fromPixels(planar(floats, 3, size), { count: 3, ...shape, layout: 'NCHW' });
    for (let i = 0; i < 3; i++) {
      expect([...dataset.image(i).data]).toEqual([...levels.subarray(i * size, (i + 1) * size)]);
    }
  });

  test.each([Number.NaN, 1.001, -1.001, Number.POSITIVE_INFINITY, 255])(
    '%d is an error that names the image',
    async (x) => {
      const floats = new Float32Array(3 * size);
      floats[2 * size + 5] = x;
      const error = await rejection(fromPixels(floats, { count: 3, ...shape }));
      expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
      expect(error.message).toBe(`Image 2: expected floats from -1 to 1, got ${Math.fround(x)} at element 5 of it`);
    },
  );
});

describe('labels', () => {
  test('with and without names', async () => {
    const named = await fromPixels(bytesOf(3 * size), {
      count: 3,
      ...shape,
      labels: [1, 0, 1],
      classNames: ['a', 'b', 'c'],
    });
    expect([...(named.labels as Int32Array)]).toEqual([1, 0, 1]);
    expect(named.classNames).toEqual(['a', 'b', 'c']);
    expect(named.classes).toBe(3);
    expect(named.image(2).label).toBe(1);
    const bare = await fromPixels(bytesOf(3 * size), { count: 3, ...shape, labels: Int32Array.of(4, 0, 2) });
    expect(bare.classes).toBe(5);
    expect(bare.classNames).toBeUndefined();
  });

  test('one for all images', async () => {
    const dataset = await fromPixels(bytesOf(3 * size), { count: 3, ...shape, labels: 2 });
    expect([...(dataset.labels as Int32Array)]).toEqual([2, 2, 2]);
  });

  test('are copied', async () => {
    const labels = Int32Array.of(1, 2);
    const dataset = await fromPixels(bytesOf(2 * size), { count: 2, ...shape, labels });
    labels.fill(0);
    expect([...(dataset.labels as Int32Array)]).toEqual([1, 2]);
  });

  test.each<[Partial<FromPixelsOptions>, RegExp]>([
    [{ labels: [0, 1] }, /^labels: expected .*an array of 3 of them.*, got \[ 0, 1 \] \(array\)$/],
    [{ labels: [0, 1, -1] }, /^labels\[2\]: expected an integer from 0 to 2147483647, got -1 \(number\)$/],
    [{ labels: [0, 1.5, 1] }, /^labels\[1\]: expected an integer from 0 to 2147483647, got 1\.5 \(number\)$/],
    [{ labels: [0, 1, 2], classNames: ['a', 'b'] }, /^labels\[2\]: expected an integer from 0 to 1, got 2 \(number\)$/],
    [{ classNames: ['a'] }, /^classNames: expected no value \(there are no labels\), got \[ 'a' \] \(array\)$/],
    [
      { labels: [0, 0, 0], classNames: [] },
      /^classNames: expected an array of names, one a class, got \[\] \(array\)$/,
    ],
  ])('%j', async (options, message) => {
    const error = await rejection(fromPixels(bytesOf(3 * size), { count: 3, ...shape, ...options }));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message: expect.stringMatching(message) });
  });
});

test.each<[unknown, unknown, string]>([
  [bytesOf(size), { count: 2, ...shape }, 'data.length: expected 36 (2 images of 2×3×3), got 18 (number)'],
  [
    [1, 2, 3],
    { count: 1, height: 1, width: 1, channels: 3 },
    'data: expected a Uint8Array, Uint8ClampedArray or Float32Array, got [ 1, 2, 3 ] (array)',
  ],
  [bytesOf(size), { count: 0, ...shape }, 'count: expected a positive integer, got 0 (number)'],
  [bytesOf(size), { count: 1, ...shape, channels: 5 }, 'channels: expected an integer from 1 to 4, got 5 (number)'],
  [bytesOf(size), { count: 1, ...shape, height: 0 }, 'height: expected an integer from 1 to 8192, got 0 (number)'],
  [bytesOf(size), { count: 1, ...shape, layout: 'CHW' }, "layout: expected 'NHWC' or 'NCHW', got 'CHW' (string)"],
  [
    bytesOf(size),
    { count: 1, height: 2, width: 3 },
    'channels: expected an integer from 1 to 4, got undefined (undefined)',
  ],
  [bytesOf(size), undefined, 'options: expected an object, got undefined (undefined)'],
])('wrong options %#', async (data, options, message) => {
  const error = await rejection(fromPixels(data as Pixels, options as FromPixelsOptions));
  expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message });
});

test('an unknown option names the nearest', async () => {
  const options = { count: 1, ...shape, label: [0] } as FromPixelsOptions;
  expect((await rejection(fromPixels(bytesOf(size), options))).message).toMatch(
    /^label: unknown option; did you mean 'labels'\?/,
  );
});

test('abort', async () => {
  const options = { count: 20_000, ...shape };
  const pixels = bytesOf(20_000 * size);
  const before = fromPixels(pixels, { ...options, signal: AbortSignal.abort() });
  expect((await rejection(before)).name).toBe('AbortError');
  const controller = new AbortController();
  const copying = fromPixels(planar(pixels, 3, size), { ...options, layout: 'NCHW', signal: controller.signal });
  setImmediate(() => controller.abort());
  expect((await rejection(copying)).name).toBe('AbortError');
});
