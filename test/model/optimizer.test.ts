/** Adam, clipping, warm-up and the moving average, against their formulas in float64. */
import { Ddpm, type DdpmConfig, type TrainStepResult } from '../../lib';
import { flat, type Parameters, randomModel, small, valuesOf } from './models';
import { largestDifference, norm, normals, relativeEach } from './numbers';

const size = 8 * 8;

/** Steps on given values, with the weights before the first and after each, and the gradient of each. */
async function run(config: DdpmConfig, steps: number) {
  await using ddpm = await randomModel(config);
  const weights = async () => ({ raw: flat(await valuesOf(ddpm, 'raw')), ema: flat(await valuesOf(ddpm, 'ema')) });
  const before = await weights();
  const after: { raw: Float32Array; ema: Float32Array; gradient: Float32Array; result: TrainStepResult }[] = [];
  for (let i = 0; i < steps; i++) {
    const result = await ddpm.trainStep({
      x0: normals(2 * size, 10 * i + 1),
      noise: normals(2 * size, 10 * i + 2),
      t: [(97 * i) % 1000, (331 * i + 5) % 1000],
    });
    after.push({ ...(await weights()), gradient: flat(await valuesOf(ddpm, 'gradient')), result });
  }
  return { before, after };
}

describe('Adam', () => {
  const optimizer = { learningRate: 1e-3, warmupSteps: 3, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, gradientClip: null };

  test.each([0, 0.1])(
    'moves the weights as Kingma and Ba 2015 say, with a decoupled weight decay of %d',
    async (weightDecay) => {
      const { before, after } = await run({ ...small, optimizer: { ...optimizer, weightDecay } }, 6);
      const { beta1, beta2, epsilon } = optimizer;
      const m = new Float64Array(before.raw.length);
      const v = new Float64Array(before.raw.length);
      const weights = Float64Array.from(before.raw);
      for (const [i, { gradient, raw }] of after.entries()) {
        const n = i + 1;
        const rate = optimizer.learningRate * Math.min(n / optimizer.warmupSteps, 1);
        for (let j = 0; j < weights.length; j++) {
          m[j] = beta1 * m[j] + (1 - beta1) * gradient[j];
          v[j] = beta2 * v[j] + (1 - beta2) * gradient[j] ** 2;
          const mHat = m[j] / (1 - beta1 ** n);
          const vHat = v[j] / (1 - beta2 ** n);
          weights[j] -= rate * weightDecay * weights[j] + (rate * mHat) / (Math.sqrt(vHat) + epsilon);
        }
        // A part in ten thousand of a step, where weights of 1 are stored to 6e-8.
        expect(largestDifference(raw, weights)).toBeLessThan(1e-4 * optimizer.learningRate * n + 1e-7 * n);
      }
      // That says something only because the weights moved by much more.
      expect(largestDifference(weights, before.raw)).toBeGreaterThan(optimizer.learningRate);
    },
  );

  test.each([0.9, 0.999, 0.99999])('a first update is as long as the learning rate: beta2 %d', async (beta2) => {
    const { before, after } = await run(
      { ...small, optimizer: { ...optimizer, beta2, epsilon: 1e-30, warmupSteps: 0, learningRate: 0.1 } },
      1,
    );
    const [{ gradient, raw }] = after;
    const told = [...gradient.keys()].filter((j) => Math.abs(gradient[j]) > 1e-6);
    expect(told.length).toBeGreaterThan(1000);
    const lengths = told.map((j) => (before.raw[j] - raw[j]) * Math.sign(gradient[j]));
    expect(
      largestDifference(
        lengths,
        lengths.map(() => 0.1),
      ),
    ).toBeLessThan(1e-6);
  });

  test.each([
    [0, [1, 1, 1, 1, 1]],
    [1, [1, 1, 1, 1, 1]],
    [4, [0.25, 0.5, 0.75, 1, 1]],
  ])('a warm-up of %d updates has the rates %j', async (warmupSteps, shares) => {
    const { after } = await run({ ...small, optimizer: { learningRate: 2e-4, warmupSteps } }, 5);
    const rates = after.map(({ result }) => result.learningRate);
    expect(
      relativeEach(
        rates,
        shares.map((share) => 2e-4 * share),
      ),
    ).toBeLessThan(1e-12);
  });

  test('the first update of a parameter is the learning rate, whatever its gradient', async () => {
    const { before, after } = await run(
      { ...small, optimizer: { learningRate: 1e-2, warmupSteps: 0, epsilon: 1e-20 } },
      1,
    );
    const [{ raw, gradient }] = after;
    const expected = raw.map((_, i) => before.raw[i] - Math.sign(gradient[i]) * 1e-2);
    expect(largestDifference(raw, expected)).toBeLessThan(1e-6);
  });
});

describe('clipping', () => {
  test('scales a gradient above the limit down to it; the norm reported is that before', async () => {
    const free = await run({ ...small, optimizer: { gradientClip: null } }, 1);
    const clipped = await run({ ...small, optimizer: { gradientClip: 0.5 } }, 1);
    const [{ gradient, result }] = free.after;
    expect(result.gradientNorm).toBeGreaterThan(0.5);
    expect(relativeEach([norm(gradient)], [result.gradientNorm])).toBeLessThan(1e-6);

    const [scaled] = clipped.after;
    expect(scaled.result.gradientNorm).toBe(result.gradientNorm);
    expect(norm(scaled.gradient)).toBeLessThanOrEqual(0.5);
    expect(norm(scaled.gradient)).toBeCloseTo(0.5, 5);
    const expected = gradient.map((value) => (0.5 / result.gradientNorm) * value);
    expect(largestDifference(scaled.gradient, expected)).toBeLessThan(1e-6);
  });

  test('leaves a gradient below the limit as it is', async () => {
    const free = await run({ ...small, optimizer: { gradientClip: null } }, 1);
    const limited = await run({ ...small, optimizer: { gradientClip: 1000 } }, 1);
    expect(limited.after[0].gradient).toEqual(free.after[0].gradient);
    expect(limited.after[0].raw).toEqual(free.after[0].raw);
  });

  test('the default limit is 1', async () => {
    const { after } = await run(small, 3);
    for (const { gradient, result } of after) {
      expect(norm(gradient)).toBeLessThanOrEqual(1);
      expect(norm(gradient)).toBeCloseTo(Math.min(result.gradientNorm, 1), 5);
    }
    expect(Math.max(...after.map(({ result }) => result.gradientNorm))).toBeGreaterThan(1);
  });
});

describe('the moving average', () => {
  test.each([
    { decay: 0.9999, warmup: true },
    { decay: 0.3, warmup: true },
    { decay: 0.9, warmup: false },
    { decay: 0, warmup: false },
  ])('%j', async (ema) => {
    const steps = 8;
    const { before, after } = await run({ ...small, optimizer: { learningRate: 1e-2, warmupSteps: 0 }, ema }, steps);
    expect(before.ema).toEqual(before.raw);
    const average = Float64Array.from(before.ema);
    for (const [n, { raw, ema: found }] of after.entries()) {
      const decay = ema.warmup ? Math.min(ema.decay, (1 + n) / (10 + n)) : ema.decay;
      for (let i = 0; i < average.length; i++) average[i] = decay * average[i] + (1 - decay) * raw[i];
      expect(largestDifference(found, average)).toBeLessThan(1e-6);
    }
    expect(largestDifference(average, before.ema)).toBeGreaterThan(5e-3);
  });

  test('predictions come from either set of weights', async () => {
    await using ddpm = await randomModel({ ...small, optimizer: { learningRate: 1e-2, warmupSteps: 0 } });
    const x = normals(size, 5);
    const predict = async (weights: 'ema' | 'raw') => (await ddpm.predictNoise(x, 500, { weights })).data;
    expect(await predict('ema')).toEqual(await predict('raw'));
    const before = await predict('raw');
    await ddpm.trainStep({ x0: x, t: 500, noise: normals(size, 6) });
    expect(largestDifference(await predict('raw'), before)).toBeGreaterThan(1e-3);
    expect(largestDifference(await predict('ema'), await predict('raw'))).toBeGreaterThan(1e-3);
    expect((await ddpm.predictNoise(x, 500)).data).toEqual(await predict('ema'));
  });
});

test('the gradient is that of the loss', async () => {
  const config: DdpmConfig = { ...small, optimizer: { learningRate: 1e-30, gradientClip: null } };
  await using ddpm = await randomModel(config);
  const values = { x0: normals(size, 1), noise: normals(size, 2), t: 300 };
  const { loss } = await ddpm.trainStep(values);
  const gradients: Parameters = await valuesOf(ddpm, 'gradient');
  // For the last bias exactly: loss = mean (ε̂ + b − ε)², so ∂loss/∂b = 2 mean (ε̂ − ε).
  const noisy = ddpm.diffusion.addNoise(values.x0, values.t, values.noise);
  const { data } = await ddpm.predictNoise(noisy, values.t, { weights: 'raw' });
  const residual = Float64Array.from(data, (value, i) => value - values.noise[i]);
  const expected = (2 * residual.reduce((sum, value) => sum + value)) / size;
  expect(loss).toBeCloseTo(norm(residual) ** 2 / size, 6);
  expect((gradients.get('conv_out.bias') as Float32Array)[0]).toBeCloseTo(expected, 6);
});

test('there is no gradient before the first step', async () => {
  await using ddpm = new Ddpm(small);
  await expect(ddpm.parameters({ weights: 'gradient' })).rejects.toMatchObject({ code: 'ERR_CONFIG' });
});
