/** Networks that are told a class. */
import { type Ddpm, type DdpmConfig, fromPixels } from '../../lib';
import { randomModel, sameParameters, small, valuesOf } from './models';
import { largestDifference, normals, sameBits } from './numbers';

const size = 8 * 8;
const config: DdpmConfig = { ...small, unet: { ...small.unet, classes: 3 } };
const x = normals(size, 1);
const x2 = Float32Array.of(...x, ...x);

let ddpm: Ddpm;
let plain: Ddpm;
beforeAll(async () => {
  ddpm = await randomModel(config);
  plain = await randomModel(small);
});
afterAll(() => Promise.all([ddpm.dispose(), plain.dispose()]));

test('the class changes the prediction, and each image has its own', async () => {
  const predict = async (classLabels: number) => (await ddpm.predictNoise(x, 500, { classLabels })).data;
  const [zero, one] = [await predict(0), await predict(1)];
  expect(largestDifference(zero, one)).toBeGreaterThan(0.01);
  const both = (await ddpm.predictNoise(x2, 500, { classLabels: [1, 0] })).data;
  expect(largestDifference(both, Float32Array.of(...one, ...zero))).toBeLessThan(1e-5);
});

test('the class changes the picture', async () => {
  const options = { seed: 1, sampler: 'ddim', steps: 5, batchSize: 1 } as const;
  const [zero] = await ddpm.sample(1, { ...options, classLabels: 0 });
  const [first, second, third] = await ddpm.sample(3, { ...options, classLabels: [0, 2, 0] });
  const [, other] = await ddpm.sample(2, { ...options, classLabels: 0 });
  expect(sameBits(first.data, zero.data)).toBe(true);
  expect(largestDifference(second.data, other.data)).toBeGreaterThan(5);
  const [, , alike] = await ddpm.sample(3, { ...options, classLabels: 0 });
  expect(sameBits(third.data, alike.data)).toBe(true);
});

test('training moves the embeddings of the classes that it sees, and no others', async () => {
  await using model = await randomModel({ ...config, optimizer: { learningRate: 1e-2, warmupSteps: 0 } });
  const before = (await model.parameters({ weights: 'raw' })).get('class_embedding.weight');
  await model.trainStep({ x0: x2, noise: x2, t: 400, classLabels: [0, 2] });
  const after = (await model.parameters({ weights: 'raw' })).get('class_embedding.weight');
  const row = (i: number) => {
    const [of, to] = [before, after].map((tensor) => tensor?.data.subarray(32 * i, 32 * (i + 1)) as Float32Array);
    return largestDifference(of, to);
  };
  expect([row(0) > 5e-3, row(1), row(2) > 5e-3]).toEqual([true, 0, true]);
});

test('train() takes the labels of the data set', async () => {
  const levels = Uint8Array.from({ length: 4 * size }, (_, i) => (i * 37) % 256);
  const shape = { count: 4, height: 8, width: 8, channels: 1 };
  const trained = async (labels: number[]) => {
    await using model = await randomModel(config);
    await model.train(await fromPixels(levels, { ...shape, labels }), { steps: 3, batchSize: 4 });
    return await valuesOf(model, 'raw');
  };
  const first = await trained([0, 1, 2, 0]);
  expect(sameParameters(await trained([0, 1, 2, 0]), first)).toBe(true);
  expect(sameParameters(await trained([0, 1, 2, 1]), first)).toBe(false);
  await using model = await randomModel(config);
  await expect(model.train(await fromPixels(levels, shape), { steps: 1 })).rejects.toMatchObject({
    code: 'ERR_DATASET',
    message: 'dataset: expected a class label for each image (unet.classes is 3), got none',
  });
  const outside = await fromPixels(levels, { ...shape, labels: [0, 1, 3, 0] });
  await expect(model.train(outside, { steps: 1 })).rejects.toMatchObject({
    code: 'ERR_DATASET',
    message: 'dataset.labels[2]: expected 0 to 2 (unet.classes is 3), got 3',
  });
});

test('a model without classes trains on a labelled data set as on a plain one', async () => {
  const levels = Uint8Array.from({ length: 4 * size }, (_, i) => (i * 37) % 256);
  const shape = { count: 4, height: 8, width: 8, channels: 1 };
  const trained = async (labels?: number[]) => {
    await using model = await randomModel(small);
    await model.train(await fromPixels(levels, { ...shape, labels }), { steps: 2, batchSize: 4 });
    return await valuesOf(model, 'raw');
  };
  expect(sameParameters(await trained([0, 1, 2, 0]), await trained())).toBe(true);
});

const calls: [string, (model: Ddpm, classLabels?: number | number[]) => Promise<unknown>][] = [
  ['sample', (model, classLabels) => model.sample(2, { steps: 1, classLabels })],
  ['predictNoise', (model, classLabels) => model.predictNoise(x2, 0, { classLabels })],
  ['trainStep', (model, classLabels) => model.trainStep({ x0: x2, noise: x2, t: 0, classLabels })],
];

describe.each(calls)('%s', (_, call) => {
  test.each([
    [
      undefined,
      'classLabels: expected an integer from 0 to 2, or an array of 2 of them (one an image), got undefined (undefined)',
    ],
    [3, 'classLabels: expected an integer from 0 to 2, or an array of 2 of them (one an image), got 3 (number)'],
    [[0], 'classLabels: expected an integer from 0 to 2, or an array of 2 of them (one an image), got [ 0 ] (array)'],
    [[0, -1], 'classLabels[1]: expected an integer from 0 to 2, got -1 (number)'],
  ])('with classes, labels %j are refused', async (classLabels, message) => {
    await expect(call(ddpm, classLabels)).rejects.toMatchObject({ code: 'ERR_CONFIG', message });
  });

  test('without classes, labels are refused', async () => {
    await expect(call(plain, [0, 0])).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: 'classLabels: expected no value (the model has no classes: unet.classes is 0), got [ 0, 0 ] (array)',
    });
  });
});
