/** The network on a card gives what it gives on the CPU, captured or not. */
import { type Ddpm, type DdpmConfig, fromPixels } from '../../lib';
import { native } from '../../lib/binding';
import { randomImages } from '../model/datasets';
import { randomModel } from '../model/models';
import { normals, relativeToLargest, sameBits } from '../model/numbers';
import { describeWithCard, networks, onBoth } from './card';

const batch = 3;

/** How passes were run while `work` was done. */
async function passesOf(work: () => Promise<unknown>) {
  const before = native().passCounts();
  await work();
  const { captured, refused, launched, uncaptured, why } = native().passCounts();
  expect(why).toBe('');
  return {
    captured: captured - before.captured,
    refused: refused - before.refused,
    launched: launched - before.launched,
    uncaptured: uncaptured - before.uncaptured,
  };
}

/** Four predictions for the same images: the second is captured, and launched from then on. */
async function predictions(ddpm: Ddpm): Promise<Float32Array[]> {
  const { image, unet } = ddpm.config;
  const x = normals(batch * image.channels * image.height * image.width, 1);
  const labels = unet.classes ? { classLabels: [0, 1, 2] } : {};
  const made: Float32Array[] = [];
  for (let i = 0; i < 4; i++) made.push((await ddpm.predictNoise(x, [3, 500, 999], labels)).data);
  return made;
}

describeWithCard('on a card', () => {
  // A capture that fails changes no result: only this tells.
  describe.each<[string, DdpmConfig]>(
    (['float32', 'tf32', 'bfloat16'] as const).flatMap((precision) =>
      Object.entries(networks).map(([name, config]): [string, DdpmConfig] => [
        `${precision}, ${name}`,
        { ...config, device: 'cuda', precision },
      ]),
    ),
  )('passes are captured: %s', (_, config) => {
    test('predictions', async () => {
      await using ddpm = await randomModel(config);
      expect(await passesOf(() => predictions(ddpm))).toEqual({ captured: 1, refused: 0, launched: 3, uncaptured: 1 });
    });

    test('samples', async () => {
      await using ddpm = await randomModel(config);
      const classLabels = config.unet?.classes ? { classLabels: 1 } : {};
      expect(await passesOf(() => ddpm.sample(4, { steps: 6, batchSize: 4, ...classLabels }))).toEqual({
        captured: 1,
        refused: 0,
        launched: 5,
        uncaptured: 1,
      });
    });

    test.each([false, true])('updates of two passes each, gradientCheckpointing: %p', async (gradientCheckpointing) => {
      await using ddpm = await randomModel({ ...config, unet: { ...config.unet, dropout: 0.1 } });
      const { image, unet } = ddpm.config;
      const count = 6;
      const levels = Uint8Array.from(
        { length: count * image.height * image.width * image.channels },
        (__, i) => 37 * i,
      );
      const labels = unet.classes ? { labels: [0, 1, 2, 0, 1, 2] } : {};
      const data = await fromPixels(levels, { ...image, count, ...labels });
      const options = { batchSize: 3, gradientAccumulation: 2, gradientCheckpointing };
      expect(await passesOf(() => ddpm.train(data, { steps: 4, ...options }))).toEqual({
        captured: 1,
        refused: 0,
        launched: 7,
        uncaptured: 1,
      });
    });
  });

  describe.each(Object.entries(networks))('%s', (_, config: DdpmConfig) => {
    test('float32 is the CPU’s', async () => {
      const { cuda, cpu } = await onBoth(config, predictions);
      expect(relativeToLargest(cuda[0], cpu[0])).toBeLessThanOrEqual(1e-4);
    });

    test('a captured pass is the one it was captured from', async () => {
      const { cuda } = await onBoth(config, predictions);
      for (const again of cuda.slice(1)) expect(sameBits(again, cuda[0])).toBe(true);
    });

    test('bfloat16 is float32 but for its precision', async () => {
      const half = await onBoth({ ...config, precision: 'bfloat16' }, predictions);
      const { cpu } = await onBoth(config, predictions);
      expect(relativeToLargest(half.cuda[0], cpu[0])).toBeLessThanOrEqual(3e-2);
      expect(sameBits(half.cuda[0], cpu[0])).toBe(false);
    });
  });

  test('tf32 is float32 but for its precision', async () => {
    const config: DdpmConfig = { ...networks['packs of channels'], device: 'cuda' };
    const outputs: Float32Array[] = [];
    for (const precision of ['float32', 'tf32', 'bfloat16'] as const) {
      await using ddpm = await randomModel({ ...config, precision });
      outputs.push((await predictions(ddpm))[3]);
    }
    const [float32, tf32, bfloat16] = outputs;
    const difference = relativeToLargest(tf32, float32);
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThanOrEqual(3e-3);
    expect(difference).toBeLessThan(relativeToLargest(bfloat16, float32));
  });

  test('models in tf32, float32 and bfloat16 that compute at the same time are what they are alone', async () => {
    const config: DdpmConfig = { ...networks['packs of channels'], device: 'cuda' };
    const models: Ddpm[] = [];
    for (const precision of ['float32', 'tf32', 'bfloat16'] as const)
      models.push(await randomModel({ ...config, precision }));
    // Every batch size anew: passes that run kernel by kernel, where the setting counts.
    const draw = async (ddpm: Ddpm) => {
      const made: number[] = [];
      for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]) {
        made.push(...(await ddpm.sample(count, { steps: 2, seed: count, batchSize: count, output: 'float32' })).data);
      }
      return made;
    };
    const data = await randomImages(8);
    const alone: number[][] = [];
    for (const ddpm of models) alone.push(await draw(ddpm));
    for (let i = 0; i < 3; i++) {
      await using training = await randomModel({ ...config, precision: i % 2 ? 'float32' : 'tf32' });
      const trained = training.train(data, { steps: 20, batchSize: 1 + i });
      expect(await Promise.all(models.map(draw))).toEqual(alone);
      await trained;
    }
    for (const ddpm of models) await ddpm.dispose();
  });

  test.each<[string, (x: Float32Array) => Float32Array]>([
    ['values whose squares float32 does not have', (x) => x.map((value) => 1e30 * value)],
    ['a first pixel far from all others', (x) => x.map((value, i) => (i % 48 ** 2 === 0 ? 1e4 : value))],
    ['the same all over', (x) => x.fill(2)],
  ])('%s', async (_, change) => {
    const { unet, ...rest } = networks['packs of channels'];
    const config = { ...rest, image: { size: 48, channels: 1 }, unet: { ...unet, attentionResolutions: [24] } };
    const x = change(normals(48 ** 2, 1));
    const { cuda, cpu } = await onBoth(config, async (ddpm) => (await ddpm.predictNoise(x, 10)).data);
    expect(relativeToLargest(cuda, cpu)).toBeLessThanOrEqual(1e-4);
  });

  test('batches of many sizes in turn', async () => {
    const config = networks['packs of channels'];
    const { cuda, cpu } = await onBoth(config, async (ddpm) => {
      const made: number[] = [];
      for (const n of [1, 2, 3, 4, 5, 6, 2, 1, 1, 2]) {
        made.push(...(await ddpm.predictNoise(normals(n * 64, n), 10)).data);
      }
      return made;
    });
    expect(relativeToLargest(cuda, cpu)).toBeLessThanOrEqual(1e-4);
  });
});
