import { resolveConfig, resolveSampleOptions, type SampleOptions } from '../../lib/config';

const model = { image: { size: 4, channels: 3 }, unet: { channels: 8, channelMultipliers: [1], normGroups: 8 } };
const config = resolveConfig(model);
const withSteps = (timesteps: number) => resolveConfig({ ...model, diffusion: { timesteps } });

test('sampling has defaults', () => {
  expect(resolveSampleOptions(3, { seed: 7 }, config)).toEqual({
    count: 3,
    sampler: 'ddpm',
    steps: 1000,
    timestepSpacing: 'trailing',
    eta: 0,
    seed: 7,
    batchSize: 16,
    weights: 'ema',
    output: 'uint8',
  });
});

test('what is given stands', () => {
  const noise = new Float32Array(96).fill(0.5);
  const given: SampleOptions = {
    sampler: 'ddim',
    steps: 10,
    eta: 0.5,
    timestepSpacing: 'leading',
    seed: 2 ** 53 - 1,
    batchSize: 1,
    weights: 'raw',
    noise,
    output: 'float32',
    onProgress: () => undefined,
    signal: new AbortController().signal,
  };
  const resolved = resolveSampleOptions(2, given, config);
  expect(resolved).toEqual({ count: 2, ...given });
  expect(resolved.noise).toBe(noise);
});

test('steps left out: all for ddpm, at most 50 for ddim', () => {
  expect(resolveSampleOptions(1, {}, withSteps(20)).steps).toBe(20);
  expect(resolveSampleOptions(1, { sampler: 'ddim' }, withSteps(20)).steps).toBe(20);
  expect(resolveSampleOptions(1, { sampler: 'ddim' }, withSteps(4000)).steps).toBe(50);
});

test('no more steps than timesteps', () => {
  expect(() => resolveSampleOptions(1, { steps: 21 }, withSteps(20))).toThrow(
    "steps: expected an integer from 1 to 20 (the model's timesteps), got 21 (number)",
  );
});

test('eta is refused where it would change nothing', () => {
  const message =
    "eta: expected no value with sampler 'ddpm', which does not use it (sampler 'ddim' does), got 0 (number)";
  expect(() => resolveSampleOptions(1, { eta: 0 }, config)).toThrow(message);
  expect(() => resolveSampleOptions(1, { sampler: 'ddpm', eta: 0 }, config)).toThrow(message);
});

test('without a seed each call draws one, of 53 bits', () => {
  const seeds = Array.from({ length: 200 }, () => resolveSampleOptions(1, undefined, config).seed);
  expect(new Set(seeds).size).toBe(200);
  expect(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0)).toBe(true);
  // Each of the bits 52 and 0 is set in some and clear in others.
  expect(new Set(seeds.map((seed) => seed >= 2 ** 52)).size).toBe(2);
  expect(new Set(seeds.map((seed) => seed % 2)).size).toBe(2);
});

test.each([
  [0, '0 (number)'],
  [-1, '-1 (number)'],
  [1.5, '1.5 (number)'],
  [NaN, 'NaN (number)'],
  [Infinity, 'Infinity (number)'],
  ['4', "'4' (string)"],
  [undefined, 'undefined (undefined)'],
  [{ seed: 1 }, '{ seed: 1 } (object)'],
  [22369622, '22369622 (number)'],
])('n = %p is refused', (n, shown) => {
  // 2^30 values are the most that one result holds.
  expect(() => resolveSampleOptions(n as number, {}, config)).toThrow(
    `n: expected an integer from 1 to 22369621, got ${shown}`,
  );
});

test('a model with classes wants one for each image', () => {
  const classes = resolveConfig({ ...model, unet: { ...model.unet, classes: 2 } });
  expect(resolveSampleOptions(3, { classLabels: 1 }, classes).labels).toEqual(Int32Array.of(1, 1, 1));
  expect(resolveSampleOptions(3, { classLabels: [1, 0, 1] }, classes).labels).toEqual(Int32Array.of(1, 0, 1));
  expect(() => resolveSampleOptions(3, {}, classes)).toThrow(
    'classLabels: expected an integer from 0 to 1, or an array of 3 of them (one an image), got undefined (undefined)',
  );
  expect(() => resolveSampleOptions(3, { classLabels: [1, 0] }, classes)).toThrow(
    'classLabels: expected an integer from 0 to 1, or an array of 3 of them (one an image), got [ 1, 0 ] (array)',
  );
});
