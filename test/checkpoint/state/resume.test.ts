/** A training that was stopped and resumed is the one that never stopped. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type DdpmConfig, type TrainOptions, type TrainResult } from '../../../lib';
import { readManifest } from '../../../lib/checkpoint/state/folder';
import { manifestFile } from '../../../lib/checkpoint/state/manifest';
import { failure, temporaryFolder } from '../../helpers/folder';
import { small } from '../../model/models';
import { config, essence, fingerprint, images, manifestOf, options, warningsOf } from './support';

const folder = temporaryFolder();

/** Trains to `steps` without a stop. */
async function undisturbed(steps: number, extra: Partial<TrainOptions> = {}, of: DdpmConfig = config) {
  await using ddpm = new Ddpm(of);
  const progress: unknown[] = [];
  const result = await ddpm.train(await images(), {
    ...options,
    ...extra,
    steps,
    onProgress: (report) => progress.push(essence(report)),
  });
  return { progress, result, weights: await fingerprint(ddpm) };
}

/** Trains until a checkpoint of `stop` is saved, as a process does that is then killed. */
async function killedAt(stop: number, extra: Partial<TrainOptions> = {}, of: DdpmConfig = config) {
  await using ddpm = new Ddpm(of);
  const progress: unknown[] = [];
  const kill = new AbortController();
  const training = ddpm.train(await images(), {
    ...options,
    ...extra,
    steps: 1000,
    onProgress: (report) => report.step <= stop && progress.push(essence(report)),
    checkpoint: {
      directory: folder(),
      every: stop,
      onSave: () => kill.abort(),
    },
    signal: kill.signal,
  });
  await expect(training).rejects.toMatchObject({ name: 'AbortError' });
  return progress;
}

describe('bit for bit', () => {
  test.each<[string, number, Partial<TrainOptions>, DdpmConfig]>([
    ['every step reported', 7, {}, config],
    ['stopped between two reports', 8, { progressEvery: 5 }, config],
    ['stopped after the warm-up', 20, {}, config],
    ['bfloat16', 7, {}, { ...config, precision: 'bfloat16' }],
    [
      'no moving average, weight decay, no clipping',
      7,
      {},
      {
        ...config,
        ema: { decay: 0, warmup: false },
        optimizer: { weightDecay: 0.1, gradientClip: null, warmupSteps: 0 },
      },
    ],
  ])('%s', async (_, stop, extra, of) => {
    const expected = await undisturbed(30, extra, of);
    const before = await killedAt(stop, extra, of);
    let ddpm: Ddpm | undefined;
    expect(
      await warningsOf(async () => {
        ddpm = await Ddpm.resume(folder());
      }),
    ).toEqual([]);
    await using resumed = ddpm as unknown as Ddpm;
    expect(resumed.step).toBe(stop);
    expect(resumed.config).toEqual(await undisturbedConfig(of));
    const after: unknown[] = [];
    let result: TrainResult | undefined;
    const told = await warningsOf(async () => {
      result = await resumed.train(await images(), {
        ...options,
        ...extra,
        steps: 30,
        onProgress: (report) => after.push(essence(report)),
      });
    });
    expect(told.map(({ message }) => message)).toEqual([expect.stringMatching(/:\n {2}steps: 30 \(was: 1000\)$/)]);
    expect([...before, ...after]).toEqual(expected.progress);
    expect(result).toMatchObject({ step: 30, loss: expected.result.loss, skippedSteps: 0 });
    expect(await fingerprint(resumed)).toBe(expected.weights);
  });

  test('stopped again and again, by hand', async () => {
    const expected = await undisturbed(9);
    for (let step = 1; step <= 9; step++) {
      await using ddpm = await Ddpm.resume(folder(), { ifNone: config });
      expect(ddpm.step).toBe(step - 1);
      await warningsOf(async () => ddpm.train(await images(), { ...options, steps: step }));
      await ddpm.saveCheckpoint(folder(), { keep: 1 });
    }
    await using last = await Ddpm.resume(folder());
    expect(await fingerprint(last)).toBe(expected.weights);
  });

  test('trainStep too', async () => {
    const values = { x0: new Float32Array(64).fill(0.5), noise: new Float32Array(64).fill(-0.25), t: 300 };
    await using whole = new Ddpm({ ...small, seed: 2 });
    await using begun = new Ddpm({ ...small, seed: 2 });
    for (const ddpm of [whole, begun]) for (let i = 0; i < 3; i++) await ddpm.trainStep(values);
    await begun.saveCheckpoint(folder());
    await using resumed = await Ddpm.resume(folder());
    for (const ddpm of [whole, resumed]) for (let i = 0; i < 3; i++) await ddpm.trainStep(values);
    expect(await fingerprint(resumed)).toBe(await fingerprint(whole));
  });

  test('updates that were left out are counted on', async () => {
    // One step at this rate makes weights that overflow in the network.
    const diverging: DdpmConfig = { ...small, optimizer: { learningRate: 1e30, warmupSteps: 0 } };
    await using ddpm = new Ddpm(diverging);
    const reports: number[] = [];
    const dataset = await images();
    const begun = ddpm.train(dataset, {
      steps: 100,
      batchSize: 4,
      maxNonFinite: 6,
      checkpoint: { directory: folder(), every: 4, onSave: ({ step }) => reports.push(step) },
    });
    const whole = await failure(begun, 'ERR_NON_FINITE');
    expect(whole).toMatch(
      /^Training stopped at step 7, after 6 updates in a row that were not finite: the loss was not finite \(timesteps /,
    );
    expect(reports).toEqual([4]);
    await using resumed = await Ddpm.resume(folder());
    const skipped: number[] = [];
    const again = resumed.train(dataset, {
      steps: 100,
      batchSize: 4,
      maxNonFinite: 6,
      onProgress: ({ skippedSteps }) => skipped.push(skippedSteps),
    });
    expect(await failure(again, 'ERR_NON_FINITE')).toBe(whole);
    expect(skipped).toEqual([4, 5]);
  });
});

async function undisturbedConfig(of: DdpmConfig) {
  await using ddpm = new Ddpm(of);
  return ddpm.config;
}

describe('what is other than before', () => {
  async function trained() {
    await using ddpm = new Ddpm(config);
    await ddpm.train(await images(), { ...options, steps: 4, checkpoint: { directory: folder() } });
  }

  test('is taken over, and told of', async () => {
    await trained();
    let ddpm: Ddpm | undefined;
    const warnings = await warningsOf(async () => {
      ddpm = await Ddpm.resume(folder(), {
        optimizer: { learningRate: 5e-4 },
        ema: { decay: 0.5 },
        precision: 'bfloat16',
      });
      const rates: number[] = [];
      await ddpm.train(await images(), {
        steps: 6,
        batchSize: 8,
        horizontalFlip: true,
        onProgress: ({ learningRate }) => rates.push(learningRate),
      });
      expect(rates).toEqual([5e-4 * (5 / 15), 5e-4 * (6 / 15)]);
      // Later ones of the same process are the caller's own affair.
      await ddpm.train(await images(), { steps: 7, batchSize: 3 });
    });
    expect(ddpm?.config).toMatchObject({
      optimizer: { learningRate: 5e-4, warmupSteps: 15 },
      ema: { decay: 0.5 },
      precision: 'bfloat16',
    });
    expect(warnings).toEqual([
      {
        code: 'DDPM_RESUME_CHANGED',
        message: [
          `${join(folder(), 'step-000000004')}: goes on with other settings:`,
          "precision: 'bfloat16' (was: 'float32')",
          'optimizer.learningRate: 0.0005 (was: 0.001)',
          'ema.decay: 0.5 (was: 0.9999)',
        ].join('\n  '),
      },
      {
        code: 'DDPM_RESUME_CHANGED',
        message: [
          'Training goes on with other settings:',
          'steps: 6 (was: 4)',
          'batchSize: 8 (was: 4)',
          'gradientAccumulation: 1 (was: 2)',
        ].join('\n  '),
      },
    ]);
    await ddpm?.dispose();
  });

  test('another release of LibTorch is told of', async () => {
    await using ddpm = new Ddpm(config);
    const { path } = await ddpm.saveCheckpoint(folder());
    const manifest = await readManifest(path);
    const old = { ...manifest, versions: { ...manifest.versions, libtorch: '2.0.0' } };
    writeFileSync(join(path, 'checkpoint.json'), JSON.stringify(manifestFile(old)));
    const told = await warningsOf(async () => (await Ddpm.resume(folder())).dispose());
    expect(told).toEqual([
      {
        code: 'DDPM_RESUME_CHANGED',
        message: expect.stringMatching(/versions\.libtorch: '[^']+' \(was: '2\.0\.0'\)$/),
      },
    ]);
  });

  test('other images are refused, unless they are asked for', async () => {
    await trained();
    await using ddpm = await Ddpm.resume(folder());
    const other = await images(2);
    const text = await failure(ddpm.train(other, { ...options, steps: 5 }), 'ERR_DATASET');
    expect(text).toMatch(
      /^dataset: expected the images that the checkpoint was trained on, 21 images of 8×8×1 \(SHA-256 [0-9a-f]{12}…\), got 21 images of 8×8×1 \(SHA-256 [0-9a-f]{12}…\); datasetChange: 'accept' goes on with others$/,
    );
    expect(ddpm.step).toBe(4);
    const warnings = await warningsOf(() => ddpm.train(other, { ...options, steps: 5, datasetChange: 'accept' }));
    expect(warnings).toEqual([
      {
        code: 'DDPM_RESUME_CHANGED',
        message: expect.stringMatching(/steps: 5 \(was: 4\)\n {2}dataset: 21 images .* \(was: 21 images /),
      },
    ]);
  });

  test('a checkpoint that is saved before training goes on still knows its images', async () => {
    await trained();
    await using ddpm = await Ddpm.resume(folder());
    const { path } = await ddpm.saveCheckpoint(folder());
    await using again = await Ddpm.resume(path);
    await failure(again.train(await images(2), { ...options, steps: 5 }), 'ERR_DATASET');
  });

  test('a training that is refused as a second one leaves the record of the first', async () => {
    await using ddpm = new Ddpm(config);
    const first = ddpm.train(await images(), { ...options, steps: 30 });
    await failure(ddpm.train(await images(2), { ...options, steps: 99 }), 'ERR_BUSY');
    await first;
    const { path } = await ddpm.saveCheckpoint(folder());
    expect(manifestOf(path)).toMatchObject({ training: { steps: 30, batchSize: 4 } });
    await using again = await Ddpm.resume(path);
    expect(await warningsOf(async () => again.train(await images(), { ...options, steps: 30 }))).toEqual([]);
  });
});

test('ifNone is the model to begin with, where there is no checkpoint', async () => {
  for (const place of [join(folder(), 'missing'), folder()]) {
    await using ddpm = await Ddpm.resume(place, { ifNone: config, optimizer: { learningRate: 7e-5 } });
    expect(ddpm.step).toBe(0);
    expect(ddpm.config).toMatchObject({ seed: 5, optimizer: { learningRate: 7e-5, warmupSteps: 15 } });
    expect(await failure(Ddpm.resume(place), 'ERR_CHECKPOINT')).toBe(`${place}: there is no checkpoint in it`);
  }
  await new Ddpm(config).saveCheckpoint(folder());
  await using ddpm = await Ddpm.resume(folder(), { ifNone: { ...config, seed: 6 } });
  expect(ddpm.config.seed).toBe(5);
});
