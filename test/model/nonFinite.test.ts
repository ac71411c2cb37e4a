/** NaN and infinity are errors, never a black picture or damaged weights. */
import type { Ddpm, DdpmConfig, SampleOptions, TrainProgress } from '../../lib';
import { randomImages } from './datasets';
import { modelWith, randomModel, sameParameters, small, valuesOf } from './models';
import { normals } from './numbers';

const size = 8 * 8;
const good = { x0: normals(size, 1), noise: normals(size, 2), t: 500 };

/** One step at this rate makes weights that overflow in the network. */
const diverging: DdpmConfig = { ...small, optimizer: { learningRate: 1e30, warmupSteps: 0 } };

/** A copy with another value in one place. */
function withOne(data: Float32Array, index: number, value: number): Float32Array {
  const copy = data.slice();
  copy[index] = value;
  return copy;
}

async function weightsOf(ddpm: Ddpm) {
  return { raw: await valuesOf(ddpm, 'raw'), ema: await valuesOf(ddpm, 'ema') };
}

describe('sample()', () => {
  const overflowing: [string, () => Promise<Ddpm>][] = [
    [
      'an output that overflows, unclipped',
      () =>
        modelWith({ ...small, diffusion: { clipSample: false } }, (parameters) => {
          parameters.get('conv_out.bias')?.fill(3e38);
        }),
    ],
    [
      'an infinite output, clipped',
      () =>
        modelWith(small, (parameters) => {
          parameters.get('conv_norm_out.bias')?.fill(1);
          parameters.get('conv_norm_out.weight')?.fill(0);
          parameters.get('conv_out.weight')?.fill(3e38);
        }),
    ],
    [
      'NaN in the network, clipped',
      () => modelWith(small, (parameters) => parameters.get('conv_in.weight')?.fill(3e38)),
    ],
  ];
  const options: SampleOptions[] = [
    { steps: 4 },
    { sampler: 'ddim', steps: 4 },
    { sampler: 'ddim', steps: 4, eta: 1, output: 'float32' },
  ];

  describe.each(overflowing)('%s', (_, make) => {
    test.each(options)('rejects: %j', async (each) => {
      await using ddpm = await make();
      await expect(ddpm.sample(3, { ...each, seed: 1 })).rejects.toMatchObject({
        name: 'DdpmError',
        code: 'ERR_NON_FINITE',
        message: expect.stringMatching(/^Image \d of the samples holds NaN or infinite values: /),
      });
    });
  });

  test('a call that fails does not touch others, and the model goes on', async () => {
    await using ddpm = await randomModel({ ...diverging, ema: { decay: 0, warmup: false } });
    const options = { seed: 1, sampler: 'ddim', steps: 100 } as const;
    const before = await ddpm.sample(2, options);
    let under: Promise<unknown> | undefined;
    await new Promise<void>((began) => {
      under = ddpm.sample(2, { ...options, onProgress: () => began() });
    });
    await ddpm.trainStep(good);
    await expect(ddpm.sample(2, options)).rejects.toMatchObject({ code: 'ERR_NON_FINITE' });
    expect(((await under) as typeof before).data).toEqual(before.data);
  });
});

describe('trainStep()', () => {
  test.each<[string, Partial<typeof good>]>([
    ['NaN in x0', { x0: withOne(good.x0, 17, Number.NaN) }],
    ['an infinity in x0', { x0: withOne(good.x0, 0, Number.POSITIVE_INFINITY) }],
    ['NaN in the noise', { noise: withOne(good.noise, 63, Number.NaN) }],
    ['a loss beyond float32', { noise: good.noise.map((z) => 1e30 * z) }],
  ])('%s: an error, and the weights are as before', async (_, wrong) => {
    await using ddpm = await randomModel({ ...small, optimizer: { learningRate: 1e-2, warmupSteps: 0 } });
    await ddpm.trainStep(good);
    expect(ddpm.step).toBe(1);
    const before = await weightsOf(ddpm);
    await expect(ddpm.trainStep({ ...good, ...wrong })).rejects.toMatchObject({
      code: 'ERR_NON_FINITE',
      message:
        'trainStep: the loss of step 2 is not finite (timesteps 500). Image 0 of the 1 given causes it, at timestep 500. ' +
        'The weights were left as they were; lower optimizer.learningRate, or look at the data',
    });
    const after = await weightsOf(ddpm);
    expect(sameParameters(after.raw, before.raw)).toBe(true);
    expect(sameParameters(after.ema, before.ema)).toBe(true);
  });

  test('the optimizer too is as before', async () => {
    await using ddpm = await randomModel(small);
    await using spared = await randomModel(small);
    for (const model of [ddpm, spared]) await model.trainStep(good);
    await expect(ddpm.trainStep({ ...good, x0: withOne(good.x0, 0, Number.NaN) })).rejects.toThrow();
    for (const model of [ddpm, spared]) await model.trainStep(good);
    expect(sameParameters((await weightsOf(ddpm)).raw, (await weightsOf(spared)).raw)).toBe(true);
  });
});

describe('train()', () => {
  test('gives up after ten steps in a row, with the weights of the last good one', async () => {
    await using ddpm = await randomModel(diverging);
    const reports: TrainProgress[] = [];
    const dataset = await randomImages(4);
    await ddpm.train(dataset, { steps: 1, batchSize: 4 });
    const good = await weightsOf(ddpm);
    const training = ddpm.train(dataset, { steps: 100, batchSize: 4, onProgress: (at) => reports.push(at) });
    await expect(training).rejects.toMatchObject({
      code: 'ERR_NON_FINITE',
      message: expect.stringMatching(
        /^Training stopped at step 11, after 10 updates in a row that were not finite: the loss was not finite \(timesteps (\d+, ){3}\d+\)\. The weights are those of the last good step; /,
      ),
    });
    expect(reports.map(({ skippedSteps }) => skippedSteps)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const after = await weightsOf(ddpm);
    expect(sameParameters(after.raw, good.raw)).toBe(true);
    expect(sameParameters(after.ema, good.ema)).toBe(true);
  });
});
