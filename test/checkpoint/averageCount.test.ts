/** The warm-up of the moving average after loading: it goes on from the updates that the average has taken in. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type DdpmConfig } from '../../lib';
import { SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/formats/safetensors';
import { layout } from '../../lib/checkpoint/model/layout';
import { temporaryFolder } from '../helpers/folder';
import { randomImages } from '../model/datasets';
import { flat, randomModel, small, valuesOf } from '../model/models';

const folder = temporaryFolder();
const config: DdpmConfig = { ...small, optimizer: { learningRate: 0.01, warmupSteps: 0 } };
const STEPS = 30;

/** A model that has made some updates. */
async function trained(): Promise<Ddpm> {
  const ddpm = await randomModel(config);
  await ddpm.train(await randomImages(4), { steps: STEPS, batchSize: 2 });
  return ddpm;
}

/** Makes one training step, and gives the share of its weights that the average took in. */
async function shareOfOneStep(ddpm: Ddpm): Promise<number> {
  const before = flat(await valuesOf(ddpm, 'ema'));
  await ddpm.train(await randomImages(4), { steps: ddpm.step + 1, batchSize: 2 });
  const [after, raw] = [flat(await valuesOf(ddpm, 'ema')), flat(await valuesOf(ddpm, 'raw'))];
  // The least squares' answer to: after = before + share · (raw − before).
  const way = raw.map((value, i) => value - before[i]);
  const moved = after.map((value, i) => value - before[i]);
  return dot(moved, way) / dot(way, way);
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** What an update takes in after n of them. */
const share = (n: number) => 1 - (1 + n) / (10 + n);

test('a loaded model with its raw weights, one that was saved again, and a checkpoint as a model', async () => {
  await using ddpm = await trained();
  const [saved, again, checkpoints] = ['saved', 'again', 'checkpoints'].map((name) => join(folder(), name));
  await ddpm.save(saved, { rawWeights: true });
  await using loaded = await Ddpm.load(saved);
  expect(loaded.step).toBe(0);
  expect(await shareOfOneStep(loaded)).toBeCloseTo(share(STEPS), 4);

  // The count is that of the average, not of the steps since loading.
  await loaded.save(again, { rawWeights: true });
  await using second = await Ddpm.load(again);
  expect(await shareOfOneStep(second)).toBeCloseTo(share(STEPS + 1), 4);

  const { path } = await second.saveCheckpoint(checkpoints);
  await using resumed = await Ddpm.resume(checkpoints);
  expect(await shareOfOneStep(resumed)).toBeCloseTo(share(STEPS + 2), 4);
  await using model = await Ddpm.load(path);
  expect(await shareOfOneStep(model)).toBeCloseTo(share(STEPS + 2), 4);
});

test('a model that is saved as it was loaded keeps the count', async () => {
  await using ddpm = await trained();
  const [saved, again, checkpoints] = ['saved', 'again', 'checkpoints'].map((name) => join(folder(), name));
  await ddpm.save(saved, { rawWeights: true });
  await using loaded = await Ddpm.load(saved);
  await loaded.save(again, { rawWeights: true });
  await loaded.saveCheckpoint(checkpoints);
  for (const model of [await Ddpm.load(again), await Ddpm.resume(checkpoints)]) {
    expect(await shareOfOneStep(model)).toBeCloseTo(share(STEPS), 4);
    await model.dispose();
  }
});

test('without raw weights the average begins with the network that was loaded', async () => {
  await using ddpm = await trained();
  const path = join(folder(), 'model');
  await ddpm.save(path);
  await using loaded = await Ddpm.load(path);
  expect(await shareOfOneStep(loaded)).toBeCloseTo(share(0), 4);
  await ddpm.save(path, { rawWeights: true });
  await using raw = await Ddpm.load(path, { variant: 'raw' });
  expect(await shareOfOneStep(raw)).toBeCloseTo(share(0), 4);
});

test('a constant decay has no count, and a new model begins at none', async () => {
  await using ddpm = await trained();
  const path = join(folder(), 'model');
  await ddpm.save(path, { rawWeights: true });
  await using loaded = await Ddpm.load(path, { ema: { decay: 0.9, warmup: false } });
  expect(await shareOfOneStep(loaded)).toBeCloseTo(0.1, 4);
  await using fresh = await randomModel(config);
  expect(await shareOfOneStep(fresh)).toBeCloseTo(share(0), 4);
});

test.each<[string, Record<string, string>, number]>([
  ['the step, where there is no count', { 'ddpm_node.step': '20' }, 20],
  ['nothing, where it is no number', { 'ddpm_node.step': '20', 'ddpm_node.averaged': 'many' }, 0],
  ['nothing, where it is no count', { 'ddpm_node.step': '20', 'ddpm_node.averaged': '-1' }, 0],
])('files with other notes: %s', async (_, notes, count) => {
  await using ddpm = await trained();
  const path = join(folder(), 'model');
  await ddpm.save(path, { rawWeights: true });
  for (const [file, weights] of [
    [layout.weights, 'ema'],
    [layout.rawWeights, 'raw'],
  ]) {
    const source = await SafetensorsFile.open(join(path, file));
    const tensors = [];
    for (const { name, dtype, shape } of source.tensors.values()) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of source.chunks(name)) chunks.push(Uint8Array.from(chunk));
      tensors.push({ name, dtype, shape, chunks: () => chunks });
    }
    await source.close();
    rmSync(join(path, file));
    await writeSafetensors(join(path, file), tensors, {
      metadata: { format: 'pt', 'ddpm_node.weights': weights, ...notes },
    });
  }
  await using loaded = await Ddpm.load(path);
  expect(await shareOfOneStep(loaded)).toBeCloseTo(share(count), 4);
});
