/** Calls that overlap: samples are drawn together, also while training runs, and one that fails harms no other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm } from '../../lib';
import { randomImages } from '../model/datasets';
import { randomModel, sameParameters, small, valuesOf } from '../model/models';
import { largestDifference } from '../model/numbers';

const steps = 25;

test('eight calls of sample(1) at once share their network calls, and give the pictures that each gives alone', async () => {
  await using ddpm = await randomModel(small);
  // Every network call tells each request that it served: a request comes once in each.
  let networkCalls = 0;
  let served = new Set<number>();
  const draw = (seed: number) =>
    ddpm.sample(1, {
      seed,
      steps,
      onProgress: () => {
        if (served.size === 0 || served.has(seed)) {
          networkCalls++;
          served = new Set();
        }
        served.add(seed);
      },
    });
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  const together = await Promise.all(seeds.map(draw));
  // The first may set out before the last is there.
  expect(networkCalls).toBeGreaterThanOrEqual(steps);
  expect(networkCalls).toBeLessThanOrEqual(steps + 8);

  networkCalls = 0;
  for (const seed of seeds) {
    served.clear();
    const alone = await draw(seed);
    // LibTorch adds up in another order where eight images go through the network: one level at the most.
    expect(largestDifference(together[seed - 1].data, alone.data)).toBeLessThanOrEqual(1);
  }
  expect(networkCalls).toBe(8 * steps);
});

test('sample() is served between the steps of train(), and changes nothing in it', async () => {
  const dataset = await randomImages(4);
  const config = { ...small, unet: { ...small.unet, dropout: 0.1 } };
  const train = { steps: 60, batchSize: 4 };
  await using undisturbed = new Ddpm(config);
  await undisturbed.train(dataset, train);

  await using ddpm = new Ddpm(config);
  let trained = false;
  const training = ddpm.train(dataset, train).then(() => {
    trained = true;
  });
  const stepsAtEnds: number[] = [];
  while (!trained) {
    await Promise.all([ddpm.sample(2, { steps: 3 }), ddpm.sample(1, { steps: 5, weights: 'raw' }), ddpm.parameters()]);
    if (!trained) stepsAtEnds.push(ddpm.step);
  }
  await training;
  // Several answers at different steps: not all of them waited for the end.
  expect(new Set(stepsAtEnds).size).toBeGreaterThan(2);
  for (const weights of ['raw', 'ema'] as const) {
    expect(sameParameters(await valuesOf(ddpm, weights), await valuesOf(undisturbed, weights))).toBe(true);
  }
});

test('models that fail to load disturb none at work', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-broken-'));
  await using ddpm = new Ddpm(small);
  const alone = await ddpm.sample(2, { steps, seed: 1 });
  const sampling = ddpm.sample(2, { steps, seed: 1 });
  const training = ddpm.train(await randomImages(4), { steps: 20, batchSize: 2 });
  await ddpm.save(folder);
  const loads = [
    Ddpm.load(join(folder, 'nowhere')),
    Ddpm.load(folder),
    Ddpm.load(folder, { device: 'nothing' as 'cpu' }),
    Ddpm.load(join(folder, 'scheduler')),
    Ddpm.load(folder),
  ];
  const outcomes = (await Promise.allSettled(loads)).map((load) =>
    load.status === 'fulfilled' ? load.value.parameterCount : load.reason.code,
  );
  const { parameterCount } = ddpm;
  expect(outcomes).toEqual(['ERR_CHECKPOINT', parameterCount, 'ERR_CONFIG', 'ERR_CHECKPOINT', parameterCount]);
  expect((await sampling).data).toEqual(alone.data);
  expect(await training).toMatchObject({ step: 20 });
  for (const load of await Promise.allSettled(loads)) if (load.status === 'fulfilled') await load.value.dispose();
  rmSync(folder, { recursive: true });
});
