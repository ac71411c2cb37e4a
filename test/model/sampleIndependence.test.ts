/**
 * Image i of sample(n, { seed }) is the same picture for every n, every batch size, and whatever else goes on.
 *
 * With a network that gives a constant, what a sampler computes is elementwise, and the pictures are equal bit for bit:
 * noise, coefficients and order are each image's own. With a real network they are equal to one level, not bit for bit,
 * where another number of images goes through the network at once: LibTorch's dense layers (of the time embedding) and
 * its convolutions then add up in another order. Where the same images go through it together, bytes are equal.
 */
import type { Ddpm, Images, SampleOptions } from '../../lib';
import { constantNetwork } from './constantNetwork';
import { randomImages } from './datasets';
import { randomModel, sameParameters, small, valuesOf } from './models';
import { largestDifference, sameBits } from './numbers';

const seed = 7;

/** The pictures of one call, apart. */
const apart = (images: Images) => [...images].map(({ data }) => data);

/** Image i with any other number of images, at any other place of a batch, with any other calls in flight. */
const ways: [string, (ddpm: Ddpm, i: number, options: SampleOptions) => Promise<Images['data']>][] = [
  ...[1, 3, 5, 7, 32].map((batchSize): (typeof ways)[number] => [
    `in batches of ${batchSize}`,
    async (ddpm, i, options) => apart(await ddpm.sample(16, { ...options, batchSize }))[i],
  ]),
  ['as the last of a call', async (ddpm, i, options) => apart(await ddpm.sample(i + 1, options))[i]],
  [
    'alone in every network call',
    async (ddpm, i, options) => apart(await ddpm.sample(i + 1, { ...options, batchSize: 1 }))[i],
  ],
  ['with more images than before', async (ddpm, i, options) => apart(await ddpm.sample(21, options))[i]],
  [
    'with other calls in flight',
    async (ddpm, i, options) => {
      const others = [
        ddpm.sample(5, { seed: 1, sampler: 'ddim', steps: 3 }),
        ddpm.sample(1, { seed: 2, steps: 6, weights: 'raw' }),
        ddpm.sample(3, { steps: 4, batchSize: 2, output: 'float32' }),
      ];
      const images = await ddpm.sample(16, options);
      await Promise.all(others);
      return apart(images)[i];
    },
  ],
];

/** Different network calls, different noise, both kinds of result. */
const kinds: SampleOptions[] = [
  { seed, steps: 8 },
  { seed, sampler: 'ddim', steps: 5 },
  { seed, sampler: 'ddim', steps: 6, eta: 0.7, timestepSpacing: 'linspace' },
];

describe.each(kinds)('%j', (options) => {
  describe('a constant network: equal bit for bit', () => {
    let ddpm: Ddpm;
    let images: Images['data'][];
    beforeAll(async () => {
      ddpm = await constantNetwork();
      images = apart(await ddpm.sample(16, { ...options, output: 'float32' }));
    });
    afterAll(() => ddpm.dispose());

    test.each(ways)('%s', async (_, way) => {
      for (const i of [3, 15]) {
        expect(sameBits(await way(ddpm, i, { ...options, output: 'float32' }), images[i])).toBe(true);
      }
    });
  });

  describe('a real network: equal to one level', () => {
    let ddpm: Ddpm;
    let images: Images;
    beforeAll(async () => {
      ddpm = await randomModel(small);
      images = await ddpm.sample(16, options);
    });
    afterAll(() => ddpm.dispose());

    test('the same call gives the same bytes', async () => {
      expect(sameBits((await ddpm.sample(16, options)).data, images.data)).toBe(true);
    });

    test.each(ways)('%s', async (_, way) => {
      for (const i of [3, 15]) {
        expect(largestDifference(await way(ddpm, i, options), apart(images)[i])).toBeLessThanOrEqual(1);
      }
    });

    test('the images are different pictures, and other seeds give others', async () => {
      const other = await ddpm.sample(16, { ...options, seed: seed + 1 });
      const all = [...apart(images), ...apart(other)];
      for (const [i, image] of all.entries()) {
        for (const earlier of all.slice(0, i)) expect(largestDifference(image, earlier)).toBeGreaterThan(50);
      }
    });
  });
});

test('floats become levels by rounding and clamping', async () => {
  await using ddpm = await randomModel({ ...small, image: { size: 8, channels: 3 } });
  const options = { seed, steps: 3 };
  const floats = (await ddpm.sample(2, { ...options, output: 'float32' })).data; // [n, C, H, W]
  const levels = (await ddpm.sample(2, options)).data; // [n, H, W, C]
  const expected = Uint8Array.from(levels, (_, i) => {
    const [c, pixel, image] = [i % 3, Math.floor(i / 3) % 64, Math.floor(i / 192)];
    const x = floats[(image * 3 + c) * 64 + pixel];
    return Math.min(Math.max(Math.round((x + 1) * 127.5), 0), 255);
  });
  expect(levels).toEqual(expected);
});

describe('while training runs', () => {
  // So small a learning rate leaves every weight as it is, bit for bit, while the training does all its work.
  const unmoving = { learningRate: 1e-30, warmupSteps: 0 };

  test('the pictures are the same', async () => {
    await using ddpm = await randomModel({ ...small, optimizer: unmoving });
    const options = { seed, sampler: 'ddim', steps: 5 } as const;
    const images = await ddpm.sample(16, options);
    const weights = await valuesOf(ddpm, 'raw');

    const abort = new AbortController();
    const training = ddpm.train(await randomImages(8), { steps: 1e6, batchSize: 4, signal: abort.signal });
    const stepsBefore = ddpm.step;
    for (let repeat = 0; repeat < 3; repeat++) {
      expect(sameBits((await ddpm.sample(16, options)).data, images.data)).toBe(true);
    }
    for (const [, way] of ways) {
      expect(largestDifference(await way(ddpm, 3, options), apart(images)[3])).toBeLessThanOrEqual(1);
    }
    expect(ddpm.step).toBeGreaterThan(stepsBefore);
    abort.abort();
    await expect(training).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(sameParameters(await valuesOf(ddpm, 'raw'), weights)).toBe(true);
  });

  test.each(['ema', 'raw'] as const)('a call keeps to the %s weights that it began with', async (weights) => {
    await using ddpm = await randomModel({
      ...small,
      optimizer: { learningRate: 1e-2, warmupSteps: 0 },
      ema: { decay: 0.5, warmup: false },
    });
    const options = { seed, sampler: 'ddim', steps: 150, weights, output: 'float32' } as const;
    const before = await ddpm.sample(2, options);
    const dataset = await randomImages(8);

    let under: Promise<Images> | undefined;
    await new Promise<void>((began) => {
      under = ddpm.sample(2, { ...options, onProgress: () => began() });
    });
    const abort = new AbortController();
    const training = ddpm.train(dataset, { steps: 1e6, batchSize: 4, signal: abort.signal });
    expect(sameBits((await under)?.data as Float32Array, before.data)).toBe(true);
    expect(ddpm.step).toBeGreaterThan(0);
    abort.abort();
    await expect(training).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(largestDifference((await ddpm.sample(2, options)).data, before.data)).toBeGreaterThan(0.1);
  });
});
