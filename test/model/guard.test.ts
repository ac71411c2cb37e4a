/** What is not finite never reaches weights, moments, the moving average or a checkpoint; and the message says whose fault it is. */
import { join } from 'node:path';
import { type Dataset, Ddpm, type DdpmConfig, fromPixels, imageFolder } from '../../lib';
import { layout } from '../../lib/checkpoint/state/layout';
import { flat as picture, put } from '../datasets/support';
import { readTensors } from '../helpers/fixtures';
import { failure, temporaryFolder } from '../helpers/folder';
import { randomImages } from './datasets';
import { modelWith, randomModel, sameParameters, small, valuesOf } from './models';
import { normals } from './numbers';

const folder = temporaryFolder();
const quick = { learningRate: 1e-2, warmupSteps: 0 };

/** Everything that training keeps, through a checkpoint: both sets of weights and both moments. */
async function everything(ddpm: Ddpm): Promise<number[]> {
  const { path } = await ddpm.saveCheckpoint(join(folder(), 'look'));
  const files = [layout.weights, layout.rawWeights, layout.optimizer];
  const tensors = await Promise.all(files.map((file) => readTensors(join(path, file))));
  return tensors.flatMap((file) => Object.values(file).flatMap(({ data }) => Array.from(data as Float32Array)));
}

/** A network that overflows for images of class 1, and for no others. */
function overflowing(): Promise<Ddpm> {
  const config: DdpmConfig = { ...small, unet: { ...small.unet, classes: 2 }, optimizer: quick };
  return modelWith(config, (parameters) => {
    const embedding = parameters.get('class_embedding.weight') as Float32Array;
    embedding.fill(1e38, embedding.length / 2);
    parameters.get('mid_block.resnets.0.time_emb_proj.weight')?.fill(10);
  });
}

/** A network with a finite output, whose last layers have an infinite gradient. */
function infiniteGradient(extra: Partial<DdpmConfig> = {}): Promise<Ddpm> {
  return modelWith({ ...small, optimizer: quick, ...extra }, (parameters) => {
    parameters.get('conv_norm_out.weight')?.fill(0);
    parameters.get('conv_out.weight')?.fill(3e38);
  });
}

test('a learning rate of 10: all stays finite, and the newest checkpoint too', async () => {
  await using ddpm = new Ddpm({ ...small, optimizer: { learningRate: 10, warmupSteps: 0 }, seed: 3 });
  const dataset = await randomImages(16);
  const directory = join(folder(), 'checkpoints');
  const losses: number[] = [];
  const training = ddpm.train(dataset, {
    steps: 150,
    batchSize: 4,
    checkpoint: { directory, every: 10 },
    onProgress: ({ loss }) => losses.push(loss),
  });
  await training.catch((error: unknown) => expect(error).toMatchObject({ code: 'ERR_NON_FINITE' }));
  // It has gone wrong, as it must at such a rate.
  expect(losses.some((loss) => !(loss < 100))).toBe(true);
  expect((await everything(ddpm)).every(Number.isFinite)).toBe(true);
  await using resumed = await Ddpm.resume(directory);
  expect((await everything(resumed)).every(Number.isFinite)).toBe(true);
});

test.each([1e30, 1e38])('a learning rate of %p: weights stay within float32', async (learningRate) => {
  const config: DdpmConfig = {
    ...small,
    optimizer: { learningRate, warmupSteps: 0, gradientClip: null },
    ema: { decay: 0, warmup: false },
  };
  await using ddpm = await randomModel(config);
  const values = { x0: normals(64, 1), noise: normals(64, 2), t: 500 };
  const errors: string[] = [];
  for (let i = 0; i < 9; i++) await ddpm.trainStep(values).catch(({ message }) => errors.push(message));
  expect(errors.length).toBeGreaterThanOrEqual(8);
  expect((await everything(ddpm)).every(Number.isFinite)).toBe(true);
  if (learningRate === 1e38) {
    expect(errors[0]).toMatch(
      /^trainStep: the update of the weights of step 1 is not finite \(timesteps 500\)\. The weights were left as they were; lower optimizer\.learningRate/,
    );
  }
});

test('an infinite gradient in one layer: nothing is touched', async () => {
  await using ddpm = await infiniteGradient();
  const before = await everything(ddpm);
  const values = { x0: normals(128, 1), noise: normals(128, 2), t: [500, 20] };
  expect(await failure(ddpm.trainStep(values), 'ERR_NON_FINITE')).toMatch(
    /^trainStep: the gradient of step 1 is not finite \(timesteps 500, 20\)\. The weights were left as they were; /,
  );
  const directory = join(folder(), 'checkpoints');
  const training = ddpm.train(await randomImages(8), {
    steps: 100,
    batchSize: 4,
    maxNonFinite: 4,
    checkpoint: { directory, every: 2 },
  });
  expect(await failure(training, 'ERR_NON_FINITE')).toMatch(
    /^Training stopped at step 5, after 4 updates in a row that were not finite: the gradient was not finite \(timesteps /,
  );
  expect(await everything(ddpm)).toEqual(before);
  await using resumed = await Ddpm.resume(directory);
  expect(await everything(resumed)).toEqual(before);
});

test('NaN in some of the images given: the message names them', async () => {
  await using ddpm = await randomModel({ ...small, optimizer: quick });
  const noise = normals(4 * 64, 2);
  const withNaN = (...images: number[]) => {
    const x0 = normals(4 * 64, 1);
    for (const image of images) x0[64 * image + 7] = Number.NaN;
    return { x0, noise, t: [11, 22, 33, 44], gradientAccumulation: 2 };
  };
  await ddpm.trainStep(withNaN());
  const before = await everything(ddpm);
  const message = (...images: number[]) => failure(ddpm.trainStep(withNaN(...images)), 'ERR_NON_FINITE');
  const loss = (step: number) => `trainStep: the loss of step ${step} is not finite (timesteps 11, 22, 33, 44).`;
  const left = 'The weights were left as they were; ';
  const look = 'look at that image, or lower optimizer.learningRate';
  const lower = 'lower optimizer.learningRate, or look at the data';
  expect(await message(2)).toBe(`${loss(2)} Image 2 of the 4 given causes it, at timestep 33. ${left}${look}`);
  expect(await message(0, 3)).toBe(`${loss(3)} 2 of its 4 images cause it. ${left}${lower}`);
  expect(await message(0, 1, 2, 3)).toBe(`${loss(4)} ${left}${lower}`);
  expect(await everything(ddpm)).toEqual(before);
});

describe('one image of a data set', () => {
  /** Eight images, of which number 5 is of class 1. */
  const dataset = () => {
    const labels = Array.from({ length: 8 }, (_, i) => Number(i === 5));
    const levels = Uint8Array.from({ length: 8 * 64 }, (_, i) => (i * 7919) % 256);
    return fromPixels(levels, { count: 8, height: 8, width: 8, channels: 1, labels });
  };

  async function message(images: Dataset): Promise<string> {
    await using ddpm = await overflowing();
    const skipped: number[] = [];
    const training = ddpm.train(images, {
      steps: 100,
      batchSize: 2,
      gradientAccumulation: 2,
      maxNonFinite: 1,
      onProgress: ({ skippedSteps }) => skipped.push(skippedSteps),
    });
    const text = await failure(training, 'ERR_NON_FINITE');
    expect(skipped.every((count) => count === 0)).toBe(true);
    return text;
  }

  test('is named by its index', async () => {
    expect(await message(await dataset())).toMatch(
      /^Training stopped at step [12]: the loss was not finite \(timesteps \d+, \d+, \d+, \d+\)\. Image 5 of the data set causes it, at timestep \d+\. The weights are those of the last good step; look at that image, or lower optimizer\.learningRate$/,
    );
  });

  test('and by its file, where it is one; also in the stack', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `cats/${name}.png`).concat('dogs/h.png');
    for (const name of names) put(join(folder(), 'photos', name), await picture('#808080').png().toBuffer());
    const images = await imageFolder(join(folder(), 'photos'), { size: 8, channels: 1, classes: true });
    expect(images.sources).toEqual(names);
    const text = await message(images);
    expect(text).toMatch(/Image 7 of the data set causes it, .*\. Image 7 of the data set is dogs\/h\.png$/);
    await using ddpm = await overflowing();
    const training = ddpm.train(images, { steps: 9, batchSize: 8, maxNonFinite: 1 });
    const error = await training.catch((reason: Error) => reason);
    expect((error as Error).stack).toMatch(/dogs\/h\.png\n.*guard\.test/);
  });

  test('that turns up now and then is left out and counted, and training goes on', async () => {
    await using ddpm = await overflowing();
    const counts: number[] = [];
    const result = await ddpm.train(await dataset(), {
      steps: 12,
      batchSize: 2,
      onProgress: ({ skippedSteps }) => counts.push(skippedSteps),
    });
    // Eight images are four updates: once in each epoch.
    expect(result).toMatchObject({ step: 12, skippedSteps: 3 });
    expect(counts.at(-1)).toBe(3);
    expect([...counts].sort((a, b) => a - b)).toEqual(counts);
  });
});

test('an update that was left out is no update: the weights are those without it', async () => {
  await using ddpm = await randomModel({ ...small, optimizer: quick });
  await using spared = await randomModel({ ...small, optimizer: quick });
  const good = { x0: normals(64, 1), noise: normals(64, 2), t: 500 };
  for (const model of [ddpm, spared]) await model.trainStep(good);
  await failure(ddpm.trainStep({ ...good, noise: good.noise.map(() => Number.POSITIVE_INFINITY) }), 'ERR_NON_FINITE');
  for (const model of [ddpm, spared]) await model.trainStep(good);
  for (const weights of ['raw', 'ema'] as const) {
    expect(sameParameters(await valuesOf(ddpm, weights), await valuesOf(spared, weights))).toBe(true);
  }
});
