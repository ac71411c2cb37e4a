/** Samplers on a card: the noise, the arithmetic and the levels of the CPU. */
import type { Ddpm, DdpmConfig, SampleOptions } from '../../lib';
import { constantModel, modelWith, small } from '../model/models';
import { largestDifference, relativeToLargest, sameBits } from '../model/numbers';
import { describeWithCard, networks, onBoth } from './card';

const values = async (ddpm: Ddpm, options: SampleOptions) =>
  Float32Array.from((await ddpm.sample(5, { ...options, output: 'float32' })).data);

/** A network that predicts no noise at all, and a process that clips nothing: what is seen is the noise itself. */
const silent = { ...small, diffusion: { clipSample: false } } satisfies DdpmConfig;

describeWithCard('on a card', () => {
  test.each<[string, SampleOptions]>([
    ['what an image begins with', { steps: 1, seed: 7 }],
    ['what the steps add', { steps: 20, seed: 7 }],
  ])('the noise is the CPU’s but for rounding: %s', async (_, options) => {
    await using onCuda = await constantModel({ ...silent, device: 'cuda' }, [0]);
    await using onCpu = await constantModel(silent, [0]);
    const [cuda, cpu] = [await values(onCuda, options), await values(onCpu, options)];
    expect(relativeToLargest(cuda, cpu)).toBeLessThanOrEqual(2e-6);
  });

  test.each<[string, SampleOptions]>([
    ['ancestral', { steps: 10, seed: 2, batchSize: 2 }],
    ['DDIM', { sampler: 'ddim', steps: 10, seed: 2, batchSize: 5 }],
    ['DDIM with noise', { sampler: 'ddim', eta: 1, steps: 10, seed: 2, batchSize: 4 }],
  ])('chains: %s', async (_, options) => {
    const { cuda, cpu } = await onBoth(networks['packs of channels'], (ddpm) => values(ddpm, options));
    expect(relativeToLargest(cuda, cpu)).toBeLessThanOrEqual(1e-3);
  });

  test('levels are those of the values, mirrored by nothing and in their places', async () => {
    const config = { ...networks['several heads, classes, three levels'] };
    const options = { steps: 4, seed: 3, classLabels: [0, 1, 2, 3, 0] };
    const { cuda, cpu } = await onBoth(config, async (ddpm) => (await ddpm.sample(5, options)).data);
    expect(cuda).toHaveLength(5 * 16 * 16 * 3);
    // Where a value lies between two levels, rounding decides.
    expect(largestDifference(cuda, cpu)).toBeLessThanOrEqual(1);
  });

  test('the same seed, the same bits, whatever the batch', async () => {
    const { cuda } = await onBoth(networks['channels one by one'], async (ddpm) => [
      await values(ddpm, { steps: 6, seed: 1, batchSize: 5 }),
      await values(ddpm, { steps: 6, seed: 1, batchSize: 5 }),
    ]);
    expect(sameBits(cuda[0], cuda[1])).toBe(true);
  });

  test('an infinite output is told of, although it is clipped', async () => {
    await using ddpm = await modelWith({ ...small, device: 'cuda' }, (parameters) => {
      parameters.get('conv_norm_out.bias')?.fill(1);
      parameters.get('conv_norm_out.weight')?.fill(0);
      parameters.get('conv_out.weight')?.fill(3e38);
    });
    await expect(ddpm.sample(2, { steps: 3 })).rejects.toMatchObject({
      code: 'ERR_NON_FINITE',
      message: expect.stringMatching(/^Image \d of the samples holds NaN or infinite values: /),
    });
  });
});
