/** An AbortSignal ends work at once, with an AbortError, and leaves the model as it was between two steps. */
import { getEventListeners } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { type Dataset, Ddpm, type SampleOptions, type TrainOptions } from '../../lib';
import { randomImages } from '../model/datasets';
import { sameParameters, small, valuesOf } from '../model/models';
import { largestDifference } from '../model/numbers';

/** Wide enough for a step to take some time. */
const config = { ...small, unet: { ...small.unet, channels: 64 } };
const aborted = { name: 'AbortError', code: 'ABORT_ERR', message: 'The operation was aborted', cause: 'enough' };
const train: TrainOptions = { steps: 1e9, batchSize: 16 };
const sample: SampleOptions = { batchSize: 16 };

let dataset: Dataset;
let folder: string;
let ddpm: Ddpm;
beforeAll(async () => {
  dataset = await randomImages(16);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-abort-'));
  ddpm = new Ddpm(config);
});
afterEach(async () => {
  await ddpm.dispose();
  rmSync(folder, { recursive: true });
});

const works: [string, (signal: AbortSignal) => Promise<unknown>][] = [
  ['train', (signal) => ddpm.train(dataset, { ...train, signal })],
  ['sample', (signal) => ddpm.sample(1000, { ...sample, signal })],
  ['save', (signal) => ddpm.save(folder, { signal })],
  ['load', (signal) => Ddpm.load(folder, { signal })],
];

async function isUsable(): Promise<void> {
  const { step } = ddpm;
  expect(await ddpm.train(dataset, { steps: step + 1, batchSize: 2 })).toMatchObject({ step: step + 1 });
  expect((await ddpm.sample(2, { steps: 2 })).count).toBe(2);
  await ddpm.save(folder);
  await (await Ddpm.load(folder)).dispose();
}

test.each(works)('before %s begins', async (_, work) => {
  const error = (await work(AbortSignal.abort('enough')).catch((thrown) => thrown)) as Error;
  expect(error).toMatchObject(aborted);
  expect(error.stack).toContain('abort.test.ts');
  expect(readdirSync(folder)).toEqual([]);
  await isUsable();
});

test.each(works.slice(0, 2))('at 200 ms of %s', async (_, work) => {
  const controller = new AbortController();
  const ended = work(controller.signal).catch((thrown) => thrown);
  await sleep(200);
  const start = performance.now();
  controller.abort('enough');
  const error = (await ended) as Error;
  expect(performance.now() - start).toBeLessThan(1000);
  expect(error).toMatchObject(aborted);
  expect(error.stack).toContain('abort.test.ts');
  await isUsable();
});

test('in the middle of a step: within it, with nothing changed', async () => {
  const options = { ...train, batchSize: 256 };
  const start = performance.now();
  await ddpm.train(dataset, { ...options, steps: 1 });
  const secondsAStep = (performance.now() - start) / 1000;

  // Forward and backward pass alike. On a busy machine a step may end before the abort is heard: that try says nothing.
  let within = 0;
  for (const part of [0.2, 0.5, 0.8, 0.1, 0.2, 0.3, 0.05, 0.1, 0.15]) {
    const begun = ddpm.step;
    const before = await valuesOf(ddpm, 'raw');
    const controller = new AbortController();
    const ended = ddpm.train(dataset, { ...options, signal: controller.signal }).catch((thrown) => thrown);
    await sleep(1000 * part * secondsAStep);
    // The first step may have been a slow one, and others done by now: what counts is how many end after the abort.
    const step = ddpm.step;
    controller.abort('enough');
    expect(await ended).toMatchObject(aborted);
    expect(ddpm.step - step).toBeLessThanOrEqual(1);
    if (ddpm.step > begun) continue;
    expect(sameParameters(await valuesOf(ddpm, 'raw'), before)).toBe(true);
    if (++within === 3) break;
  }
  expect(within).toBeGreaterThan(0);
  await isUsable();
});

test('in the middle of a save: the folder is as before', async () => {
  await ddpm.save(folder);
  const before = readdirSync(folder, { recursive: true });
  const model = await valuesOf(ddpm, 'ema');
  await ddpm.train(dataset, { steps: 2, batchSize: 2 });

  const controller = new AbortController();
  const saving = ddpm.save(folder, { signal: controller.signal });
  const ended = expect(saving).rejects.toMatchObject(aborted);
  while (readdirSync(folder).every((name) => !name.startsWith('.ddpm-save-'))) await setImmediate();
  controller.abort('enough');
  await ended;
  expect(readdirSync(folder, { recursive: true })).toEqual(before);
  await using again = await Ddpm.load(folder);
  expect(sameParameters(await valuesOf(again, 'ema'), model)).toBe(true);
  await isUsable();
});

test('one of several calls: the others go on', async () => {
  const controller = new AbortController();
  const options = { ...sample, steps: 20, seed: 5 };
  const alone = await ddpm.sample(2, options);
  const calls = [
    ddpm.sample(2, options),
    ddpm.sample(2, { ...sample, signal: controller.signal, onProgress: () => controller.abort('enough') }),
    ddpm.sample(2, options),
  ];
  const [first, second, third] = await Promise.allSettled(calls);
  expect(second).toMatchObject({ status: 'rejected', reason: aborted });
  for (const call of [first, third]) {
    if (call.status === 'rejected') throw call.reason;
    // To one level: the number of images that go through the network together changes the order of its sums.
    expect(largestDifference(call.value.data, alone.data)).toBeLessThanOrEqual(1);
  }
});

test('one signal for many calls: one listener, where Node warns of a leak from the eleventh on', async () => {
  const controller = new AbortController();
  const calls = Array.from({ length: 30 }, () => ddpm.sample(1, { ...sample, signal: controller.signal }));
  const ended = Promise.allSettled(calls);
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  controller.abort('enough');
  for (const call of await ended) expect(call).toMatchObject({ status: 'rejected', reason: aborted });
});

test('a signal that fires after the end does nothing', async () => {
  const controller = new AbortController();
  await ddpm.sample(1, { steps: 2, signal: controller.signal });
  controller.abort('enough');
  await isUsable();
});
