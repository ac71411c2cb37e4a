import {
  resolveConfig,
  resolveDiffusionStepOptions,
  resolvePredictOptions,
  resolveTrainOptions,
  resolveTrainStepOptions,
} from '../../lib/config';

const config = resolveConfig({
  image: { height: 2, width: 4, channels: 1 },
  unet: { channels: 8, channelMultipliers: [1, 2], normGroups: 4, classes: 3 },
  diffusion: { timesteps: 10 },
});
const images = (n: number, value = 0) => new Float32Array(n * 8).fill(value);

test('training has defaults', () => {
  expect(resolveTrainOptions({ steps: 7 })).toEqual({
    steps: 7,
    batchSize: 128,
    horizontalFlip: false,
    gradientAccumulation: 1,
    gradientCheckpointing: false,
    progressEvery: 1,
    maxNonFinite: 10,
    datasetChange: 'refuse',
  });
});

test('checkpoints have defaults', () => {
  expect(resolveTrainOptions({ steps: 7, checkpoint: { directory: 'here' } }).checkpoint).toEqual({
    directory: 'here',
    every: 1000,
    keep: 3,
  });
});

test('what must be there is asked for by name, also where no options are given at all', () => {
  expect(() => resolveTrainOptions(undefined)).toThrow(/^steps: expected a positive integer, got undefined/);
  expect(() => resolveTrainStepOptions(undefined, config)).toThrow(/^x0: expected a Float32Array or /);
});

test('what is given stands, the callback and the signal too', () => {
  const given = {
    steps: 7,
    batchSize: 3,
    horizontalFlip: true,
    gradientAccumulation: 2,
    gradientCheckpointing: true,
    progressEvery: 5,
    maxNonFinite: 4,
    datasetChange: 'accept' as const,
    checkpoint: {
      directory: 'here',
      every: 2,
      keep: 1,
      metric: () => 0,
      onSave: () => undefined,
      onError: () => undefined,
    },
    onProgress: () => undefined,
    signal: new AbortController().signal,
  };
  const resolved = resolveTrainOptions(given, 2);
  expect(resolved).toEqual(given);
  expect(resolved.signal).toBe(given.signal);
});

test('the default batch is no larger than the data set', () => {
  expect(resolveTrainOptions({ steps: 1 }, 20).batchSize).toBe(20);
  expect(resolveTrainOptions({ steps: 1 }, 50_000).batchSize).toBe(128);
  expect(resolveTrainOptions({ steps: 1, batchSize: 32 }, 20).batchSize).toBe(32);
});

test('values of one step: arrays as they are, t and classes one an image', () => {
  const x0 = images(2, 0.5);
  const noise = { data: images(2, 0.25), shape: [2, 1, 2, 4] };
  const resolved = resolveTrainStepOptions({ x0, t: [9, 0], noise, classLabels: 2, gradientAccumulation: 2 }, config);
  expect(resolved).toEqual({
    x0,
    t: Int32Array.of(9, 0),
    noise: noise.data,
    labels: Int32Array.of(2, 2),
    gradientAccumulation: 2,
  });
});

test('a step needs as much noise as images, and parts that come out even', () => {
  const step = { x0: images(3), t: 0, noise: images(3), classLabels: 0 };
  expect(() => resolveTrainStepOptions({ ...step, noise: images(2) }, config)).toThrow(
    'noise.length: expected 24 (shape [3, 1, 2, 4]), got 16 (number)',
  );
  expect(() => resolveTrainStepOptions({ ...step, gradientAccumulation: 2 }, config)).toThrow(
    'gradientAccumulation: expected a divisor of the number of images (3), got 2 (number)',
  );
});

test('prediction has defaults', () => {
  const x = images(2);
  expect(resolvePredictOptions(x, 3, { classLabels: [0, 1] }, config)).toEqual({
    x,
    t: Int32Array.of(3, 3),
    labels: Int32Array.of(0, 1),
    weights: 'ema',
  });
});

test('a model with classes wants them', () => {
  expect(() => resolvePredictOptions(images(1), 0, undefined, config)).toThrow(
    'classLabels: expected an integer from 0 to 2, or an array of 1 of them (one an image), got undefined (undefined)',
  );
  expect(() => resolvePredictOptions(images(2), 0, { classLabels: [0, 3] }, config)).toThrow(
    'classLabels[1]: expected an integer from 0 to 2, got 3 (number)',
  );
});

test('a step of the diffusion has noise or none', () => {
  const noise = images(2);
  expect(resolveDiffusionStepOptions(undefined, 2, config)).toEqual({ noise: undefined });
  expect(resolveDiffusionStepOptions({ noise }, 2, config).noise).toBe(noise);
});
