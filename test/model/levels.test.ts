/** All 256 levels to [−1, 1] and back unchanged, by the very conversions that training and sampling use. */
import { Ddpm, type DdpmConfig, fromPixels } from '../../lib';
import { Images } from '../../lib/images';
import { levelOf } from '../../lib/pixels';
import { device } from '../helpers/device';
import { type Parameters, small, valuesOf } from './models';
import { sameBits } from './numbers';

const ramp = Uint8Array.from({ length: 256 }, (_, level) => level);

/** What the level is in the model's space, in float32. */
const floatOf = (level: number) => Math.fround(Math.fround(level / 127.5) - 1);

const floats = Float32Array.from(ramp, floatOf);

test('the ramp spans [−1, 1], symmetrically', () => {
  expect([floats[0], floats[255]]).toEqual([-1, 1]);
  for (let level = 0; level < 256; level++) expect(floats[level]).toBeCloseTo(-floats[255 - level], 6);
});

test('sampling turns each float back into its level', async () => {
  // So little noise that the only step gives back x_T as it is.
  await using ddpm = new Ddpm({
    ...small,
    image: { size: 16, channels: 1 },
    unet: { ...small.unet, attentionResolutions: [8] },
    diffusion: { betas: [1e-12] },
  });
  const options = { sampler: 'ddim', noise: floats } as const;
  expect((await ddpm.sample(1, { ...options, output: 'float32' })).data).toEqual(floats);
  expect((await ddpm.sample(1, options)).data).toEqual(ramp);
});

test('floats at the edges between levels become the same levels in pictures as in samples', async () => {
  await using ddpm = new Ddpm({
    ...small,
    image: { size: 16, channels: 1 },
    unet: { ...small.unet, attentionResolutions: [8] },
    diffusion: { betas: [1e-12] },
  });
  const offsets = [-2e-7, -1e-7, -6e-8, 0, 6e-8, 1e-7, 2e-7];
  const edges = offsets.flatMap((offset) => [...ramp].map((level) => (level + 0.5) / 127.5 - 1 + offset));
  const options = { sampler: 'ddim', noise: Float32Array.from(edges) } as const;
  const { data } = await ddpm.sample(offsets.length, { ...options, output: 'float32' });
  const levels = (await ddpm.sample(offsets.length, options)).data;
  expect(Uint8Array.from(data, levelOf)).toEqual(levels);
  expect(new Set(levels).size).toBe(256);
});

test('floats beyond the ends become the ends', async () => {
  await using ddpm = new Ddpm({
    ...small,
    image: { height: 1, width: 4, channels: 1 },
    unet: { channels: 4, channelMultipliers: [1], normGroups: 2 },
    diffusion: { betas: [1e-12], clipSample: false },
  });
  const noise = Float32Array.of(-1.5, -1.0001, 1.0001, 1e30);
  expect([...(await ddpm.sample(1, { sampler: 'ddim', noise })).data]).toEqual([0, 0, 255, 255]);
});

test('training sees each level as that float', async () => {
  // One pixel of four channels a picture. The network starts at 0 for every input, so the gradient of its last bias
  // tells the noise ε that training drew (it is −2ε/4), and the same step can be made with floats of our own. The
  // gradient of the last weights then says, to the last bit, whether x_0 was the same. Nothing moves meanwhile.
  const config: DdpmConfig = {
    image: { height: 1, width: 1, channels: 4 },
    unet: { channels: 8, channelMultipliers: [1], blocksPerLevel: 1, normGroups: 2, dropout: 0 },
    diffusion: { betas: [0.01] },
    optimizer: { learningRate: 1e-30, warmupSteps: 0, gradientClip: null },
    device,
  };
  await using training = new Ddpm(config);
  await using given = new Ddpm(config);
  const part = (gradient: Parameters, name: string) => gradient.get(`conv_out.${name}`) as Float32Array;
  const seen: number[] = [];
  for (let step = 1; step <= 64; step++) {
    const levels = ramp.slice(4 * step - 4, 4 * step);
    const dataset = await fromPixels(levels, { count: 1, height: 1, width: 1, channels: 4 });
    await training.train(dataset, { steps: step, batchSize: 1 });
    const gradient = await valuesOf(training, 'gradient');
    const noise = part(gradient, 'bias').map((value) => -2 * value);

    const differs = async (x0: Float32Array) => {
      await given.trainStep({ x0, t: 0, noise });
      return !sameBits(part(await valuesOf(given, 'gradient'), 'weight'), part(gradient, 'weight'));
    };
    if (!(await differs(floats.slice(4 * step - 4, 4 * step)))) seen.push(...levels);
    // The comparison notices a change in the last bit but a few, in any of the levels.
    if (step === 40) {
      for (let i = 0; i < 4; i++) {
        const nudged = floats.slice(156, 160);
        nudged[i] *= 1 + 2 ** -20;
        expect(await differs(nudged)).toBe(true);
      }
    }
  }
  expect(seen).toEqual([...ramp]);
});

test('fromPixels takes the floats as those levels, and Images write them', async () => {
  const shape = { count: 1, height: 16, width: 16, channels: 1 };
  const dataset = await fromPixels(floats, shape);
  expect(dataset.image(0).data).toEqual(ramp);
  const png = async (data: Uint8Array | Float32Array) => new Images({ ...shape, data }).png();
  expect(await png(floats)).toEqual(await png(ramp));
});
