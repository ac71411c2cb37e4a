/** The raw weights beside their average: both come back, each as what it was. And networks that are trained on at once. */
import { cpSync, existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type DiffusionOptions } from '../../lib';
import { SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/formats/safetensors';
import { layout } from '../../lib/checkpoint/model/layout';
import { readTensors } from '../helpers/fixtures';
import { failure, temporaryFolder } from '../helpers/folder';
import { randomImages } from '../model/datasets';
import { randomModel, sameParameters, small, valuesOf } from '../model/models';
import { relativeToLargest } from '../model/numbers';

const folder = temporaryFolder();

/** A model whose average lags behind. */
async function trained(steps = 3): Promise<Ddpm> {
  const ddpm = await randomModel({ ...small, optimizer: { learningRate: 0.01, warmupSteps: 0 } });
  await ddpm.train(await randomImages(4), { steps, batchSize: 2 });
  return ddpm;
}

async function metadataOf(path: string): Promise<Record<string, string>> {
  const file = await SafetensorsFile.open(path);
  await file.close();
  return Object.fromEntries(file.metadata);
}

const filesOf = (path: string) => readdirSync(join(path, 'unet')).sort();

describe('raw weights beside the average', () => {
  test('both come back, and the files say what they hold', async () => {
    await using ddpm = await trained();
    const [ema, raw] = [await valuesOf(ddpm, 'ema'), await valuesOf(ddpm, 'raw')];
    expect(sameParameters(ema, raw)).toBe(false);
    const path = join(folder(), 'model');
    await ddpm.save(path, { rawWeights: true });
    const metadata = { format: 'pt', 'ddpm_node.step': '3', 'ddpm_node.averaged': '3' };
    expect(await metadataOf(join(path, layout.weights))).toEqual({ ...metadata, 'ddpm_node.weights': 'ema' });
    expect(await metadataOf(join(path, layout.rawWeights))).toEqual({ ...metadata, 'ddpm_node.weights': 'raw' });

    await using both = await Ddpm.load(path);
    expect(sameParameters(await valuesOf(both, 'ema'), ema)).toBe(true);
    expect(sameParameters(await valuesOf(both, 'raw'), raw)).toBe(true);
    await using onlyRaw = await Ddpm.load(path, { variant: 'raw' });
    for (const set of ['ema', 'raw'] as const) expect(sameParameters(await valuesOf(onlyRaw, set), raw)).toBe(true);
    // The network of the folder, by itself.
    await using network = await Ddpm.load(join(path, 'unet'));
    expect(sameParameters(await valuesOf(network, 'raw'), raw)).toBe(true);
  });

  test('are of the same step as the average, also while training goes on', async () => {
    // An average that forgets everything is the weights themselves.
    await using ddpm = new Ddpm({ ...small, ema: { decay: 0, warmup: false } });
    const stop = new AbortController();
    const training = ddpm.train(await randomImages(4), { steps: 1e9, batchSize: 1, signal: stop.signal });
    for (let i = 0; i < 10; i++) {
      const path = join(folder(), String(i));
      await ddpm.save(path, { rawWeights: true });
      const [ema, raw] = await Promise.all(
        [layout.weights, layout.rawWeights].map((file) => readTensors(join(path, file))),
      );
      expect(raw).toEqual(ema);
    }
    expect(ddpm.step).toBeGreaterThan(1);
    stop.abort();
    await expect(training).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('are not there unless asked for, and a later save without them takes them away', async () => {
    await using ddpm = await trained();
    const path = join(folder(), 'model');
    const single = ['config.json', 'diffusion_pytorch_model.safetensors'];
    await ddpm.save(path);
    expect(filesOf(path)).toEqual(single);
    await ddpm.save(path, { rawWeights: true });
    expect(filesOf(path)).toEqual(['config.json', 'diffusion_pytorch_model.raw.safetensors', single[1]]);
    await ddpm.save(path, { rawWeights: false });
    expect(filesOf(path)).toEqual(single);
    await using again = await Ddpm.load(path);
    const ema = await valuesOf(ddpm, 'ema');
    for (const set of ['ema', 'raw'] as const) expect(sameParameters(await valuesOf(again, set), ema)).toBe(true);
  });

  test('of another save are refused', async () => {
    await using ddpm = await trained();
    const [path, later] = [join(folder(), 'model'), join(folder(), 'later')];
    await ddpm.save(path, { rawWeights: true });
    await ddpm.train(await randomImages(4), { steps: 4, batchSize: 2 });
    await ddpm.save(later, { rawWeights: true });
    cpSync(join(later, layout.rawWeights), join(path, layout.rawWeights));
    expect(await failure(Ddpm.load(path), 'ERR_CHECKPOINT')).toMatch(
      /model\.raw\.safetensors: the raw weights are of step 4, but the average beside them of step 3: they are not of one save$/,
    );
  });

  test('a variant of that name that somebody else has made is left alone, unless asked for', async () => {
    await using ddpm = await trained();
    const path = join(folder(), 'model');
    await ddpm.save(path);
    const ema = await valuesOf(ddpm, 'ema');
    const zero = [...(await ddpm.parameters())].map(([name, { data, shape }]) => ({
      name,
      shape,
      dtype: 'F32' as const,
      chunks: () => [new Uint8Array(data.byteLength)],
    }));
    await writeSafetensors(join(path, layout.rawWeights), zero);
    await using again = await Ddpm.load(path);
    expect(sameParameters(await valuesOf(again, 'raw'), ema)).toBe(true);
    await using asked = await Ddpm.load(path, { variant: 'raw' });
    expect((await valuesOf(asked, 'raw')).get('conv_in.weight')?.every((value) => value === 0)).toBe(true);
  });

  test('that are damaged are refused', async () => {
    await using ddpm = await trained();
    const path = join(folder(), 'model');
    await ddpm.save(path, { rawWeights: true });
    rmSync(join(path, layout.rawWeights));
    cpSync(join(path, layout.unetConfig), join(path, layout.rawWeights));
    await failure(Ddpm.load(path), 'ERR_CHECKPOINT');
    expect(existsSync(join(path, layout.rawWeights))).toBe(true);
  });
});

describe('a folder of 2022', () => {
  const published = join(__dirname, '../fixtures/flat-2022');

  test('gives diffusers’ outputs, and is trained on at once', async () => {
    await using ddpm = await Ddpm.load(published, { device: 'cpu', optimizer: { learningRate: 1e-3, warmupSteps: 0 } });
    const io = await readTensors(join(published, 'io.safetensors'));
    const timesteps = Array.from(io.timesteps.data as BigInt64Array, Number);
    const before = await valuesOf(ddpm, 'raw');
    for (const weights of ['ema', 'raw'] as const) {
      const { data } = await ddpm.predictNoise(io.sample.data as Float32Array, timesteps, { weights });
      expect(relativeToLargest(data, io.output.data as Float32Array)).toBeLessThanOrEqual(2e-5);
    }
    const { step, loss } = await ddpm.train(await randomImages(4), { steps: 2, batchSize: 2 });
    expect({ step, finite: Number.isFinite(loss) }).toEqual({ step: 2, finite: true });
    expect(sameParameters(await valuesOf(ddpm, 'raw'), before)).toBe(false);

    // Saved, it is a folder of today.
    const path = join(folder(), 'model');
    await ddpm.save(path, { rawWeights: true });
    await using again = await Ddpm.load(path);
    expect(sameParameters(await valuesOf(again, 'ema'), await valuesOf(ddpm, 'ema'))).toBe(true);
  });
});

describe('options of the diffusion process to change', () => {
  async function changed(saved: DiffusionOptions, diffusion: DiffusionOptions): Promise<object> {
    const path = join(folder(), 'model');
    await using ddpm = new Ddpm({ ...small, diffusion: saved });
    await ddpm.save(path);
    await using again = await Ddpm.load(path, { diffusion });
    return again.config.diffusion;
  }

  test.each<[string, DiffusionOptions, DiffusionOptions, DiffusionOptions]>([
    ['one of them', { timesteps: 100 }, { clipSample: false }, { timesteps: 100, clipSample: false }],
    ['the end of a schedule', { betaEnd: 0.1 }, { betaEnd: 0.2 }, { betaEnd: 0.2, betaSchedule: 'linear' }],
    [
      'a schedule that does not use the ends',
      { betaStart: 0.01, betaEnd: 0.1, timesteps: 100 },
      { betaSchedule: 'cosine' },
      { betaSchedule: 'cosine', betaStart: 1e-4, betaEnd: 0.02, timesteps: 100 },
    ],
    [
      'a schedule that uses the same ends',
      { betaStart: 0.01, betaEnd: 0.1 },
      { betaSchedule: 'scaled_linear' },
      { betaSchedule: 'scaled_linear', betaStart: 0.01, betaEnd: 0.1 },
    ],
    [
      'a schedule value by value, in place of another',
      { betaStart: 0.01, betaEnd: 0.1, timesteps: 100, varianceType: 'fixed_small' },
      { betas: [0.1, 0.2] },
      { betas: [0.1, 0.2], timesteps: 2, varianceType: 'fixed_small' },
    ],
    ['another in its place', { betas: [0.1, 0.2] }, { betaSchedule: 'linear' }, { betas: null, timesteps: 2 }],
  ])('%s', async (_, saved, given, expected) => {
    expect(await changed(saved, given)).toMatchObject(expected);
  });

  test('that do not go together are the caller’s error', async () => {
    await failure(changed({ betas: [0.1, 0.2] }, { timesteps: 3 }), 'ERR_CONFIG');
    await failure(changed({ betaSchedule: 'cosine' }, { betaEnd: 0.1 }), 'ERR_CONFIG');
  });

  test('a folder without any takes them all', async () => {
    const path = join(folder(), 'model');
    await using ddpm = new Ddpm(small);
    await ddpm.save(path);
    renameSync(join(path, layout.schedulerConfig), join(path, 'gone.json'));
    await failure(Ddpm.load(path), 'ERR_CHECKPOINT');
    await using again = await Ddpm.load(path, { diffusion: { timesteps: 7 } });
    expect(again.config.diffusion.timesteps).toBe(7);
  });
});
