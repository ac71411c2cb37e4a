/** The network on a card gives what it gives on the CPU, captured or not. */
import type { Ddpm, DdpmConfig } from '../../lib';
import { normals, relativeToLargest, sameBits } from '../model/numbers';
import { describeWithCard, networks, onBoth } from './card';

const batch = 3;

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
