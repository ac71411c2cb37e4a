/** Calls of onProgress: which, in which order, with the caller's context, and what becomes of their errors. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Dataset, Ddpm } from '../../lib';
import { randomImages } from '../model/datasets';
import { small } from '../model/models';

let dataset: Dataset;
let ddpm: Ddpm;
beforeAll(async () => {
  dataset = await randomImages(4);
});
beforeEach(() => {
  ddpm = new Ddpm(small);
});
afterEach(() => ddpm.dispose());

test.each([
  [1, 5, [1, 2, 3, 4, 5]],
  [2, 5, [2, 4, 5]],
  [3, 6, [3, 6]],
  [10, 4, [4]],
])('train, every %i of %i steps', async (progressEvery, steps, expected) => {
  const seen: number[] = [];
  const losses: number[] = [];
  const result = await ddpm.train(dataset, {
    steps,
    batchSize: 2,
    progressEvery,
    onProgress: (progress) => {
      expect(progress).toMatchObject({ totalSteps: steps, skippedSteps: 0 });
      seen.push(progress.step);
      losses.push(progress.loss);
    },
  });
  expect(seen).toEqual(expected);
  expect(result.loss).toBe(losses.at(-1));
});

test('train, nothing left to do', async () => {
  const onProgress = jest.fn();
  await ddpm.train(dataset, { steps: 2, batchSize: 2 });
  expect(await ddpm.train(dataset, { steps: 2, batchSize: 2, onProgress })).toMatchObject({
    step: 2,
    loss: Number.NaN,
  });
  expect(onProgress).not.toHaveBeenCalled();
});

test('sample: the steps of all images, up to the last', async () => {
  const seen: number[] = [];
  await ddpm.sample(3, {
    steps: 4,
    batchSize: 2,
    onProgress: ({ step, totalSteps }) => {
      expect(totalSteps).toBe(12);
      seen.push(step);
    },
  });
  expect(seen).toEqual([2, 4, 6, 8, 9, 10, 11, 12]);
});

const endless: [string, (onProgress: () => unknown) => Promise<unknown>][] = [
  ['train', (onProgress) => ddpm.train(dataset, { steps: 1e9, batchSize: 2, onProgress })],
  ['sample', (onProgress) => ddpm.sample(1000, { batchSize: 1, onProgress })],
];

describe.each(endless)('%s', (_, work) => {
  test('a callback that throws', async () => {
    const error = new RangeError('mine');
    const onProgress = jest.fn(() => {
      throw error;
    });
    await expect(work(onProgress)).rejects.toBe(error);
    expect(onProgress).toHaveBeenCalledTimes(1);
    expect((await ddpm.sample(1, { steps: 2 })).count).toBe(1);
    expect(await ddpm.train(dataset, { steps: ddpm.step + 1, batchSize: 2 })).toMatchObject({ step: ddpm.step });
  });

  test('a callback whose promise rejects', async () => {
    const error = new RangeError('mine');
    const onProgress = async () => {
      await sleep(5);
      throw error;
    };
    await expect(work(onProgress)).rejects.toBe(error);
  });

  test('what is thrown need not be an error', async () => {
    await expect(
      work(() => {
        throw undefined;
      }),
    ).rejects.toBeUndefined();
  });

  test('the caller’s AsyncLocalStorage', async () => {
    const storage = new AsyncLocalStorage<string>();
    let seen: string | undefined;
    const call = storage.run('request 1', () =>
      work(() => {
        seen = storage.getStore();
        throw new Error('seen');
      }),
    );
    await expect(call).rejects.toThrow('seen');
    expect(seen).toBe('request 1');
  });
});

test('an asynchronous callback of the last step is waited for', async () => {
  const order: string[] = [];
  const preview = async ({ step }: { step: number }) => {
    const { count } = await ddpm.sample(1, { steps: 2 });
    order.push(`step ${step}: ${count}`);
  };
  await ddpm.train(dataset, { steps: 2, batchSize: 2, onProgress: preview });
  order.push('trained');
  expect(order.sort()).toEqual(['step 1: 1', 'step 2: 1', 'trained']);

  const late = ddpm.train(dataset, {
    steps: 3,
    batchSize: 2,
    onProgress: async () => {
      await sleep(5);
      throw new Error('late');
    },
  });
  await expect(late).rejects.toThrow('late');
});
