/** The same seed gives the same training, bit for bit. */
import { Ddpm, type DdpmConfig, type TrainOptions } from '../../lib';
import { randomImages } from './datasets';
import { type Parameters, sameParameters, small, valuesOf } from './models';

const steps = 12;
const config: DdpmConfig = {
  ...small,
  unet: { ...small.unet, dropout: 0.2 },
  optimizer: { learningRate: 1e-3, warmupSteps: 0 },
  seed: 3,
};

type Weights = { raw: Parameters; ema: Parameters };

async function weightsOf(ddpm: Ddpm): Promise<Weights> {
  return { raw: await valuesOf(ddpm, 'raw'), ema: await valuesOf(ddpm, 'ema') };
}

async function train(
  change: Partial<DdpmConfig> = {},
  options: Partial<TrainOptions> = {},
  during: (ddpm: Ddpm) => Promise<unknown> = async () => {},
): Promise<Weights> {
  await using ddpm = new Ddpm({ ...config, ...change });
  let beside: Promise<unknown> | undefined;
  await ddpm.train(await randomImages(7), {
    steps,
    batchSize: 4,
    horizontalFlip: true,
    ...options,
    onProgress: ({ step }) => {
      if (step === 2) beside = during(ddpm);
    },
  });
  await beside;
  return await weightsOf(ddpm);
}

const same = (a: Weights, b: Weights) => sameParameters(a.raw, b.raw) && sameParameters(a.ema, b.ema);

let first: Weights;
beforeAll(async () => {
  first = await train();
});

test('two trainings with one seed give the same weights', async () => {
  expect(same(await train(), first)).toBe(true);
});

test('another seed gives others', async () => {
  const other = await train({ seed: 4 });
  expect(sameParameters(other.raw, first.raw)).toBe(false);
  expect(sameParameters(other.ema, first.ema)).toBe(false);
});

// What a comparison of trainings has to notice.
test.each<[string, Partial<DdpmConfig>, Partial<TrainOptions>]>([
  ['mirroring', {}, { horizontalFlip: false }],
  ['dropout', { unet: small.unet }, {}],
  ['one step less', {}, { steps: steps - 1 }],
])('%s counts', async (_, change, options) => {
  expect(same(await train(change, options), first)).toBe(false);
});

test('samples, predictions and copies of the weights meanwhile change nothing', async () => {
  let images = 0;
  const during = async (ddpm: Ddpm) => {
    const calls = [
      ddpm.sample(3, { steps: 5, seed: 1 }),
      ddpm.sample(2, { sampler: 'ddim', steps: 4, eta: 1, weights: 'raw' }),
      ddpm.sample(1, { steps: 50 }),
    ];
    await ddpm.predictNoise(new Float32Array(8 * 8), 10);
    await ddpm.parameters({ weights: 'gradient' });
    for (const { count } of await Promise.all(calls)) images += count;
  };
  expect(same(await train({}, {}, during), first)).toBe(true);
  expect(images).toBe(6);
});

test('a training in parts is the same training', async () => {
  await using ddpm = new Ddpm(config);
  const dataset = await randomImages(7);
  for (const upTo of [1, 5, steps]) await ddpm.train(dataset, { steps: upTo, batchSize: 4, horizontalFlip: true });
  expect(same(await weightsOf(ddpm), first)).toBe(true);
});

test('two models training at once do not touch each other', async () => {
  const [a, b] = await Promise.all([train(), train()]);
  expect(same(a, first)).toBe(true);
  expect(same(b, first)).toBe(true);
});
