/** Single ancestral steps (Algorithm 2, lines 3 and 4) against those of the reference implementation. */
import { Ddpm, type DiffusionOptions } from '../../lib';
import { type FixtureTensor, readTensors, referencePath } from '../helpers/fixtures';
import { small } from '../model/models';
import { relativeToLargest } from '../model/numbers';

/**
 * Of the largest value. The reference computes its coefficients in float32, we in float64. At t = 1, ᾱ is 0.9998, and
 * 1 − ᾱ loses four of float32's seven digits: β_1 √ᾱ_0 / (1 − ᾱ_1) is then off by 6e-5 there, and x_0 with it.
 */
const tolerance = 1e-4;

let reference: Record<string, FixtureTensor>;
beforeAll(async () => {
  reference = await readTensors(referencePath('ddpm_steps.safetensors'));
});

const floats = (name: string) => reference[name].data as Float32Array;

describe.each(['fixed_small', 'fixed_large'] satisfies DiffusionOptions['varianceType'][])('%s', (varianceType) => {
  describe.each([
    ['clip', true],
    ['noclip', false],
  ])('%s', (clip, clipSample) => {
    let ddpm: Ddpm;
    beforeAll(() => {
      ddpm = new Ddpm({
        ...small,
        image: { size: 16, channels: 3 },
        unet: { ...small.unet, attentionResolutions: [8] },
        diffusion: { varianceType, clipSample },
      });
    });
    afterAll(() => ddpm.dispose());

    test.each([999, 500, 1, 0])('t = %d', (t) => {
      const name = `epsilon.${varianceType}.${clip}.${t}`;
      const noise = floats(`${name}.noise`);
      const { prev, x0 } = ddpm.diffusion.step(floats(`${name}.model_output`), t, floats('x_t'), { noise });
      expect(prev.shape).toEqual([2, 3, 16, 16]);
      expect(relativeToLargest(prev.data, floats(`${name}.prev`))).toBeLessThanOrEqual(tolerance);
      expect(x0.shape).toEqual([2, 3, 16, 16]);
      expect(relativeToLargest(x0.data, floats(`${name}.x0`))).toBeLessThanOrEqual(tolerance);
    });

    test('images of one call may be at different timesteps', () => {
      const size = 3 * 16 * 16;
      const name = `epsilon.${varianceType}.${clip}`;
      const output = floats(`${name}.999.model_output`);
      const noise = floats(`${name}.999.noise`);
      const { prev } = ddpm.diffusion.step(output, [999, 500], floats('x_t'), { noise });
      for (const [i, t] of [999, 500].entries()) {
        const alone = ddpm.diffusion.step(output, t, floats('x_t'), { noise }).prev.data;
        expect(prev.data.slice(i * size, (i + 1) * size)).toEqual(alone.slice(i * size, (i + 1) * size));
      }
    });
  });
});

test('covers every step of epsilon prediction that the file holds', () => {
  const steps = Object.keys(reference).filter((name) => name.startsWith('epsilon.') && name.endsWith('.prev'));
  expect(steps).toHaveLength(2 * 2 * 4);
});
