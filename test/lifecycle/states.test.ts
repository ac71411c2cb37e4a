/** Every method in every state of a model: a result, or an error with its code that points at the caller. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Dataset, Ddpm, type DdpmErrorCode } from '../../lib';
import { randomImages } from '../model/datasets';
import { small } from '../model/models';

type Method = 'train' | 'trainStep' | 'sample' | 'predictNoise' | 'parameters' | 'gradient' | 'save' | 'saveCheckpoint';
type Outcome = 'ok' | DdpmErrorCode;

const pixels = new Float32Array(64);
const endless = 1e9;

let dataset: Dataset;
let folder: string;
beforeAll(async () => {
  dataset = await randomImages(4);
  folder = mkdtempSync(join(tmpdir(), 'ddpm-states-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const methods: Record<Method, (ddpm: Ddpm) => Promise<unknown>> = {
  train: (ddpm) => ddpm.train(dataset, { steps: ddpm.step + 2, batchSize: 2 }),
  trainStep: (ddpm) => ddpm.trainStep({ x0: pixels, t: [3], noise: pixels }),
  sample: (ddpm) => ddpm.sample(1, { steps: 2 }),
  predictNoise: (ddpm) => ddpm.predictNoise(pixels, 3),
  parameters: (ddpm) => ddpm.parameters(),
  gradient: (ddpm) => ddpm.parameters({ weights: 'gradient' }),
  save: (ddpm) => ddpm.save(folder),
  saveCheckpoint: (ddpm) => ddpm.saveCheckpoint(join(folder, 'checkpoints'), { keep: 1 }),
};

/** Brings a model into the state, calls `then` in it, and lets the state end. */
type State = (ddpm: Ddpm, then: () => Promise<void>) => Promise<void>;

/** While work goes on that only its signal ends. */
function during(
  work: (ddpm: Ddpm, options: { signal: AbortSignal; onProgress: () => void }) => Promise<unknown>,
): State {
  return async (ddpm, then) => {
    const controller = new AbortController();
    let begun = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const ended = expect(work(ddpm, { signal: controller.signal, onProgress: begun })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
    await beginning;
    await then();
    controller.abort();
    await ended;
  };
}

const everything = (outcome: Outcome, but: Partial<Record<Method, Outcome>> = {}) => ({
  ...(Object.fromEntries(Object.keys(methods).map((name) => [name, outcome])) as Record<Method, Outcome>),
  ...but,
});

const states: Record<string, { enter: State; outcomes: Record<Method, Outcome> }> = {
  'just made': { enter: (_, then) => then(), outcomes: everything('ok', { gradient: 'ERR_CONFIG' }) },
  trained: {
    enter: async (ddpm, then) => {
      await methods.train(ddpm);
      await then();
    },
    outcomes: everything('ok'),
  },
  training: {
    enter: during((ddpm, options) => ddpm.train(dataset, { steps: endless, batchSize: 2, ...options })),
    outcomes: everything('ok', { train: 'ERR_BUSY', trainStep: 'ERR_BUSY' }),
  },
  sampling: {
    enter: during((ddpm, options) => ddpm.sample(100, { batchSize: 1, ...options })),
    outcomes: everything('ok', { gradient: 'ERR_CONFIG' }),
  },
  'being disposed of': {
    enter: async (ddpm, then) => {
      const sampling = ddpm.sample(1, { steps: 50 });
      const disposal = ddpm.dispose();
      await then();
      expect((await sampling).count).toBe(1);
      await disposal;
    },
    outcomes: everything('ERR_DISPOSED'),
  },
  'disposed of': {
    enter: async (ddpm, then) => {
      await ddpm.dispose();
      await then();
    },
    outcomes: everything('ERR_DISPOSED'),
  },
};

describe.each(Object.entries(states))('%s', (_, { enter, outcomes }) => {
  test.each(Object.entries(outcomes) as [Method, Outcome][])('%s: %s', async (method, outcome) => {
    await using ddpm = new Ddpm(small);
    await enter(ddpm, async () => {
      const call = methods[method](ddpm);
      if (outcome === 'ok') {
        await call;
        return;
      }
      const error = (await call.then(() => undefined).catch((thrown: unknown) => thrown)) as Error;
      expect(error).toMatchObject({ name: 'DdpmError', code: outcome });
      // The public method may stand first; then comes its caller.
      const frames = error.stack?.split('\n').filter((line) => line.startsWith('    at ')) ?? [];
      expect(frames.find((line) => !line.includes('/lib/'))).toContain('states.test.ts');
    });
  });

  test('properties', async () => {
    await using ddpm = new Ddpm(small);
    await enter(ddpm, async () => {
      expect(ddpm.step).toBeGreaterThanOrEqual(0);
      expect(ddpm).toMatchObject({ device: 'cpu', parameterCount: expect.any(Number), config: { seed: 0 } });
    });
  });
});

test('work is refused or done in the order of the calls', async () => {
  await using ddpm = new Ddpm(small);
  const [step, training, second, tooLate] = await Promise.allSettled([
    methods.trainStep(ddpm),
    methods.train(ddpm),
    methods.train(ddpm),
    methods.trainStep(ddpm),
  ]);
  expect(step).toMatchObject({ status: 'fulfilled' });
  expect(training).toMatchObject({ status: 'fulfilled', value: { step: 2 } });
  expect(second).toMatchObject({ status: 'rejected', reason: { code: 'ERR_BUSY' } });
  expect(tooLate).toMatchObject({ status: 'rejected', reason: { code: 'ERR_BUSY' } });
});

test('samples are of the weights at their call, not of those that a later call makes', async () => {
  const options = { steps: 5, seed: 1, weights: 'raw' } as const;
  await using ddpm = new Ddpm({ ...small, optimizer: { learningRate: 0.1, warmupSteps: 0 } });
  const alone = await ddpm.sample(1, options);
  const [before, , after] = await Promise.all([
    ddpm.sample(1, options),
    ddpm.trainStep({ x0: pixels, t: [3], noise: pixels.map(() => 1) }),
    ddpm.sample(1, options),
  ]);
  expect(before.data).toEqual(alone.data);
  expect(after.data).not.toEqual(alone.data);
});

test('disposal waits for a training, and is the same when asked for again', async () => {
  const ddpm = new Ddpm(small);
  const order: string[] = [];
  const training = ddpm.train(dataset, { steps: 20, batchSize: 2 }).then(({ step }) => order.push(`trained ${step}`));
  const disposal = ddpm.dispose();
  expect(ddpm.dispose()).toBe(disposal);
  ddpm[Symbol.dispose]();
  await disposal.then(() => order.push('disposed'));
  await training;
  expect(order).toEqual(['trained 20', 'disposed']);
});
