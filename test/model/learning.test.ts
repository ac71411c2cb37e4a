/** Training learns: the loss falls, and samples look like the data. */
import { type Dataset, Ddpm, type DdpmConfig, fromPixels } from '../../lib';
import { device } from '../helpers/device';
import { mean } from './numbers';

const side = 4;

const orange = [230, 120, 20];
const blue = [30, 60, 200];

/** 16 pictures, each of one RGB colour, in turn. */
function plainImages(colours: readonly (readonly number[])[], labels?: number[]): Promise<Dataset> {
  const shape = { count: 16, height: side, width: side, channels: 3 };
  const values = side * side * 3;
  const levels = Uint8Array.from({ length: shape.count * values }, (_, i) => {
    return colours[Math.floor(i / values) % colours.length][i % 3];
  });
  return fromPixels(levels, { ...shape, labels });
}

const config: DdpmConfig = {
  image: { size: side, channels: 3 },
  unet: { channels: 16, channelMultipliers: [1], blocksPerLevel: 1, normGroups: 4, dropout: 0 },
  optimizer: { learningRate: 3e-3, warmupSteps: 20 },
  ema: { decay: 0.98 },
  device,
  seed: 1,
};

/** Trains for a few seconds; gives the loss at the beginning and at the end. */
async function train(ddpm: Ddpm, dataset: Dataset): Promise<{ first: number; last: number }> {
  const losses: number[] = [];
  const options = { steps: 300, batchSize: 64, progressEvery: 20 };
  const result = await ddpm.train(dataset, { ...options, onProgress: ({ loss }) => losses.push(loss) });
  expect(result).toMatchObject({ step: 300, skippedSteps: 0, loss: losses.at(-1) });
  return { first: losses[0], last: mean(losses.slice(-5)) };
}

/** How far a picture's mean colour is from a colour, in levels. */
function distance(levels: ArrayLike<number>, colour: readonly number[]): number {
  const channel = (c: number) => Array.from({ length: levels.length / 3 }, (_, i) => levels[3 * i + c]);
  return Math.max(...colour.map((level, c) => Math.abs(mean(channel(c)) - level)));
}

test('one colour: the loss falls, and samples have the colour', async () => {
  await using ddpm = new Ddpm(config);
  const { first, last } = await train(ddpm, await plainImages([orange]));
  expect(last).toBeLessThan(first / 10);
  for (const options of [{ steps: 100 }, { sampler: 'ddim', steps: 20 }] as const) {
    const images = await ddpm.sample(8, { ...options, seed: 1 });
    for (const { data } of images) expect(distance(data, orange)).toBeLessThan(25);
  }
});

test('two colours: each sample has one of them, and both come up', async () => {
  await using ddpm = new Ddpm(config);
  await train(ddpm, await plainImages([orange, blue]));
  const images = await ddpm.sample(12, { steps: 100, seed: 1 });
  const nearest = [...images].map(({ data }) => [orange, blue].findIndex((colour) => distance(data, colour) < 40));
  expect(new Set(nearest)).toEqual(new Set([0, 1]));
});

test('two classes: the label says which colour', async () => {
  await using ddpm = new Ddpm({ ...config, unet: { ...config.unet, classes: 2 } });
  const labels = Array.from({ length: 16 }, (_, i) => i % 2);
  await train(ddpm, await plainImages([orange, blue], labels));
  for (const [classLabels, colour] of [orange, blue].entries()) {
    const images = await ddpm.sample(6, { steps: 100, seed: 1, classLabels });
    for (const { data } of images) expect(distance(data, colour)).toBeLessThan(40);
  }
});
