/** Dropout at the end of its range: what is dropped is dropped, however near to 1 the probability is. */
import { randomModel, small, valuesOf } from './models';

const x0 = Float32Array.from({ length: 2 * 8 * 8 }, (_, i) => Math.sin(i));

test.each([
  [0.999, 0.9],
  [1 - 2 ** -40, 0],
])('with probability %d', async (dropout, most) => {
  await using ddpm = await randomModel({ ...small, unet: { ...small.unet, dropout } });
  await ddpm.trainStep({ x0, t: 10, noise: x0 });
  const gradients = await valuesOf(ddpm, 'gradient');
  // A convolution's weights learn from what it reads, which is what was kept.
  const gradient = gradients.get('down_blocks.0.resnets.0.conv2.weight') as Float32Array;
  expect(gradient.filter((value) => value !== 0).length).toBeLessThanOrEqual(most * gradient.length);
  expect((gradients.get('conv_out.weight') as Float32Array).some((value) => value !== 0)).toBe(true);
});
