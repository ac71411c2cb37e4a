/** Gradient accumulation: a batch in parts is the batch in one. */
import { Ddpm, type DdpmConfig, type TrainProgress } from '../../lib';
import { randomImages } from './datasets';
import { flat, randomModel, small, valuesOf } from './models';
import { norm, normals, relativeEach } from './numbers';

const count = 8;
const size = 8 * 8;
const batch = {
  x0: normals(count * size, 1).map((x) => Math.tanh(x)),
  noise: normals(count * size, 2),
  t: [0, 1, 120, 333, 487, 700, 998, 999],
};

/** |a − b| / |b|. */
function relativeDistance(a: Float32Array, b: Float32Array): number {
  return norm(a.map((value, i) => value - b[i])) / norm(b);
}

describe('trainStep', () => {
  // Dropout too: an image's masks depend on its place in the batch, not on the part that it is in.
  test.each([0, 0.1])('4 × 2, 2 × 4 and 1 × 8 images have the gradient of 8, with dropout %d', async (dropout) => {
    const config: DdpmConfig = { ...small, unet: { ...small.unet, dropout }, optimizer: { gradientClip: null } };
    const gradients = new Map<number, Float32Array>();
    const losses: number[] = [];
    const norms: number[] = [];
    for (const gradientAccumulation of [1, 2, 4, 8]) {
      await using ddpm = await randomModel(config);
      const { loss, gradientNorm } = await ddpm.trainStep({ ...batch, gradientAccumulation });
      losses.push(loss);
      norms.push(gradientNorm);
      gradients.set(gradientAccumulation, flat(await valuesOf(ddpm, 'gradient')));
    }
    const whole = gradients.get(1) as Float32Array;
    expect(relativeEach([norm(whole)], [norms[0]])).toBeLessThan(1e-6);
    // Each further part is one more rounding to float32.
    for (const [parts, tolerance] of [
      [2, 1e-6],
      [4, 2e-6],
      [8, 4e-6],
    ]) {
      expect(relativeDistance(gradients.get(parts) as Float32Array, whole)).toBeLessThanOrEqual(tolerance);
    }
    expect(
      relativeEach(
        losses,
        losses.map(() => losses[0]),
      ),
    ).toBeLessThan(1e-6);
    expect(
      relativeEach(
        norms,
        norms.map(() => norms[0]),
      ),
    ).toBeLessThan(1e-6);
  });

  test('the loss is the mean over the images, whatever their timesteps', async () => {
    await using ddpm = await randomModel({ ...small, optimizer: { learningRate: 1e-30 } });
    const noisy = ddpm.diffusion.addNoise(batch.x0, batch.t, batch.noise);
    const predicted = await ddpm.predictNoise(noisy, batch.t, { weights: 'raw' });
    const squares = Float64Array.from(predicted.data, (value, i) => (value - batch.noise[i]) ** 2);
    const expected = squares.reduce((sum, square) => sum + square) / squares.length;
    const losses: number[] = [];
    for (const gradientAccumulation of [1, 2, 8]) {
      losses.push((await ddpm.trainStep({ ...batch, gradientAccumulation })).loss);
    }
    expect(
      relativeEach(
        losses,
        losses.map(() => expected),
      ),
    ).toBeLessThan(1e-6);
  });

  test('parts must be equal', async () => {
    await using ddpm = new Ddpm(small);
    await expect(ddpm.trainStep({ ...batch, gradientAccumulation: 3 })).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: 'gradientAccumulation: expected a divisor of the number of images (8), got 3 (number)',
    });
  });
});

describe('train', () => {
  const steps = 6;

  async function train(batchSize: number, gradientAccumulation: number) {
    await using ddpm = await randomModel({
      ...small,
      unet: { ...small.unet, dropout: 0.1 },
      optimizer: { learningRate: 1e-3, warmupSteps: 4 },
    });
    const progress: TrainProgress[] = [];
    const options = { steps, batchSize, gradientAccumulation, horizontalFlip: true };
    const before = flat(await valuesOf(ddpm, 'raw'));
    // 11 images: an epoch ends, and the next begins, in the middle of an update.
    await ddpm.train(await randomImages(11), { ...options, onProgress: (at) => progress.push(at) });
    const moved = flat(await valuesOf(ddpm, 'raw')).map((value, i) => value - before[i]);
    return { moved, progress };
  }

  test('batch 4 × accumulation 2 is batch 8, with dropout and mirroring', async () => {
    const whole = await train(8, 1);
    const parts = await train(4, 2);
    // Adam's first updates are about ±the learning rate whatever a gradient's size, and a gradient near zero may differ
    // in sign: hence the way that the weights went is compared as a whole.
    expect(relativeDistance(parts.moved, whole.moved)).toBeLessThan(1e-2);
    for (const key of ['loss', 'gradientNorm'] as const) {
      const of = ({ progress }: typeof whole) => progress.map((at) => at[key]);
      expect(relativeEach(of(parts), of(whole))).toBeLessThan(1e-4);
    }
  });

  test.each([
    [8, 1],
    [4, 2],
    [1, 4],
  ])('the learning rate counts updates, not passes: batch %d × accumulation %d', async (batchSize, accumulation) => {
    const { progress } = await train(batchSize, accumulation);
    expect(progress.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    const expected = [0.25, 0.5, 0.75, 1, 1, 1].map((share) => 1e-3 * share);
    expect(
      relativeEach(
        progress.map(({ learningRate }) => learningRate),
        expected,
      ),
    ).toBeLessThan(1e-12);
  });
});
