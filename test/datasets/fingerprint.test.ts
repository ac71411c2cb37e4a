import { createHash } from 'node:crypto';
import { Dataset, fromPixels } from '../../lib';
import { fingerprintOf } from '../../lib/datasets/fingerprint';

const shape = { count: 6, height: 2, width: 4, channels: 3 };
const levels = Uint8Array.from({ length: 6 * 24 }, (_, i) => (37 * i) % 256);
const labels = [0, 1, 2, 0, 1, 2];

test('the shape, the labels and the pixels, hashed', async () => {
  const dataset = await fromPixels(levels, { ...shape, labels });
  const expected = createHash('sha256')
    .update('[6,2,4,3]')
    .update(new Uint8Array(Int32Array.from(labels).buffer))
    .update(levels)
    .digest('hex');
  expect(await fingerprintOf(dataset)).toEqual({ ...shape, sha256: expected });
});

test('any difference shows', async () => {
  const sets: Promise<Dataset>[] = [
    fromPixels(levels, shape),
    fromPixels(levels, { ...shape, labels }),
    fromPixels(levels, { ...shape, labels: [0, 1, 2, 0, 1, 1] }),
    fromPixels(levels, { count: 6, height: 4, width: 2, channels: 3 }),
    fromPixels(levels, { count: 12, height: 2, width: 2, channels: 3 }),
    fromPixels(levels.slice(0, 120), { ...shape, count: 5 }),
    fromPixels(levels.slice().reverse(), shape),
    ...[0, 50, 143].map((at) =>
      fromPixels(
        levels.map((level, i) => (i === at ? level ^ 1 : level)),
        shape,
      ),
    ),
  ];
  const found = await Promise.all(sets.map(async (set) => (await fingerprintOf(await set)).sha256));
  expect(new Set(found).size).toBe(sets.length);
  expect((await fingerprintOf(await fromPixels(levels, shape))).sha256).toBe(found[0]);
});

test('of a large data set, images spread evenly over it, once', async () => {
  // 700 images of a megabyte.
  const shapeOf = { count: 700, height: 512, width: 512, channels: 4 };
  const read: number[] = [];
  const pixels = {
    ...shapeOf,
    append: () => {},
    read: (index: number, count: number) => {
      read.push(...Array.from({ length: count }, (_, i) => index + i));
      return new Uint8Array(8).fill(index);
    },
  };
  const dataset = new Dataset(pixels);
  const first = await fingerprintOf(dataset);
  expect(await fingerprintOf(dataset)).toBe(first);
  expect(read).toHaveLength(256);
  expect(new Set(read).size).toBe(256);
  expect(read[0]).toBe(0);
  const gaps = read.slice(1).map((index, i) => index - read[i]);
  expect([Math.min(...gaps), Math.max(...gaps), read.at(-1)]).toEqual([2, 3, 697]);
});

test('a failure is not kept', async () => {
  let luck = false;
  const pixels = {
    ...shape,
    read: (index: number, count: number) => {
      if (luck) return levels.slice(24 * index, 24 * (index + count));
      throw Object.assign(new Error('not enough memory'), { code: 'ERR_OUT_OF_MEMORY' });
    },
  };
  const dataset = new Dataset(pixels as never);
  await expect(fingerprintOf(dataset)).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY' });
  luck = true;
  expect(await fingerprintOf(dataset)).toEqual(await fingerprintOf(await fromPixels(levels, shape)));
});
