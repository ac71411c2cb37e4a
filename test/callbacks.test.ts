/** Every function that a user gives: its errors, its promises, what it gives, and the context that it runs in. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { type CheckpointOptions, Ddpm, imageFolder, type TrainResult } from '../lib';
import { manifestOf, warningsOf } from './checkpoint/state/support';
import { temporaryFolder } from './helpers/folder';
import { hubForEachTest, modelFiles, repository } from './hub/support';
import { randomImages } from './model/datasets';
import { small } from './model/models';

const folder = temporaryFolder();
const { hub, options } = hubForEachTest();

async function putPictures(): Promise<void> {
  const picture = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#123456' } })
    .png()
    .toBuffer();
  for (const name of ['a.png', 'b.png', 'c.png']) writeFileSync(join(folder(), name), picture);
}

async function withModel<T>(work: (ddpm: Ddpm) => Promise<T>): Promise<T> {
  await using ddpm = new Ddpm(small);
  return await work(ddpm);
}

async function train(checkpoint: Partial<CheckpointOptions>): Promise<TrainResult> {
  const images = await randomImages(4);
  const directory = folder();
  return withModel((ddpm) => ddpm.train(images, { steps: 1, batchSize: 2, checkpoint: { directory, ...checkpoint } }));
}

/** A call for each function that is told something. */
const told: [string, (callback: () => unknown) => Promise<unknown>][] = [
  [
    'train: onProgress',
    async (onProgress) => {
      const images = await randomImages(4);
      return withModel((ddpm) => ddpm.train(images, { steps: 1, batchSize: 2, onProgress }));
    },
  ],
  ['train: checkpoint.onSave', (onSave) => train({ onSave })],
  [
    'train: checkpoint.onError',
    (onError) => {
      writeFileSync(join(folder(), 'file'), '');
      return train({ directory: join(folder(), 'file', 'below'), onError });
    },
  ],
  ['sample: onProgress', (onProgress) => withModel((ddpm) => ddpm.sample(1, { steps: 1, onProgress }))],
  [
    'fromHub: onProgress',
    async (onProgress) => {
      hub.commit(repository, modelFiles);
      const ddpm = await Ddpm.fromHub(repository, options({ onProgress }));
      await ddpm.dispose();
    },
  ],
  [
    'imageFolder: onProgress',
    async (onProgress) => {
      await putPictures();
      await imageFolder(folder(), { size: 4, onProgress });
    },
  ],
  [
    'imageFolder with a cache that is there: onProgress',
    async (onProgress) => {
      await putPictures();
      const given = { size: 4, cacheFile: join(folder(), 'pixels.cache') };
      await imageFolder(folder(), given);
      await imageFolder(folder(), { ...given, onProgress });
    },
  ],
];
/** And for each that is asked, and whose error is the call's. */
const asked: typeof told = [
  [
    'imageFolder: filter',
    async (filter) => {
      await putPictures();
      await imageFolder(folder(), { size: 4, filter: filter as () => boolean });
    },
  ],
];

const storage = new AsyncLocalStorage<string>();

describe.each([...told, ...asked])('%s', (_, call) => {
  test('what it throws is the rejection', async () => {
    const error = new RangeError('mine');
    const callback = () => {
      throw error;
    };
    await expect(call(callback)).rejects.toBe(error);
  });

  test('what its promise rejects with is the rejection', async () => {
    const error = new RangeError('mine');
    const callback = async () => {
      await sleep(2);
      throw error;
    };
    await expect(call(callback)).rejects.toBe(error);
  });

  test('the caller’s AsyncLocalStorage', async () => {
    const seen: unknown[] = [];
    await storage.run('mine', () => call(() => seen.push(storage.getStore()) > 0));
    expect(new Set(seen)).toEqual(new Set(['mine']));
  });
});

test.each(told)('%s: its promise is waited for', async (_, call) => {
  let [begun, ended] = [0, 0];
  await call(async () => {
    begun++;
    await sleep(5);
    ended++;
  });
  expect(begun).toBeGreaterThan(0);
  expect(ended).toBe(begun);
});

describe('imageFolder: filter', () => {
  const filtered = async (filter: (file: string) => unknown) => {
    await putPictures();
    return imageFolder(folder(), { size: 4, filter: filter as (file: string) => boolean });
  };

  test('a promise is waited for', async () => {
    const { sources } = await filtered(async (file) => {
      await sleep(1);
      return file === 'b.png';
    });
    expect(sources).toEqual(['b.png']);
  });

  test.each([
    [undefined, 'undefined (undefined)'],
    [null, 'null (null)'],
    [1, '1 (number)'],
    ['', "'' (string)"],
    [Promise.resolve(undefined), 'undefined (undefined)'],
  ])('%p is no answer', async (answer, got) => {
    await expect(filtered(() => answer)).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: `filter: expected a function that gives true or false, got ${got}`,
    });
  });
});

describe('train: checkpoint.metric', () => {
  const judged = async (metric: () => unknown) => {
    const onError = jest.fn();
    let result: Partial<TrainResult> = {};
    const warnings = await warningsOf(async () => {
      result = await train({ metric: metric as () => number, onError });
    });
    expect(onError).not.toHaveBeenCalled();
    expect(result.failedCheckpoints).toBe(0);
    return { metric: manifestOf(result.checkpoint as string).metric, warnings };
  };

  test.each([
    ['a number', () => 2.5, 2.5],
    ['a promise', async () => sleep(2).then(() => 2.5), 2.5],
    ['no finite number', () => Number.NaN, null],
  ])('%s', async (_, metric, expected) => {
    expect(await judged(metric)).toEqual({ metric: expected, warnings: [] });
  });

  const raise = () => {
    throw new Error('no judge');
  };
  const notANumber = 'checkpoint.metric: expected a function that gives a number, got ';
  test.each([
    ['throws', raise, 'no judge'],
    ['rejects', async () => raise(), 'no judge'],
    [
      'throws nothing',
      () => {
        throw undefined;
      },
      'undefined',
    ],
    ['gives a string', () => '2.5', `${notANumber}'2.5' (string)`],
    ['gives nothing', () => undefined, `${notANumber}undefined (undefined)`],
    ['gives a promise of nothing', async () => {}, `${notANumber}undefined (undefined)`],
  ])('%s: the state is saved without, with a warning', async (_, metric, why) => {
    expect(await judged(metric)).toEqual({
      metric: null,
      warnings: [{ code: 'DDPM_METRIC_FAILED', message: `${folder()}: step 1 is saved without its metric: ${why}` }],
    });
  });

  test('the caller’s AsyncLocalStorage', async () => {
    const seen: unknown[] = [];
    await storage.run('mine', () => judged(() => seen.push(storage.getStore())));
    expect(seen).toEqual(['mine']);
  });
});
