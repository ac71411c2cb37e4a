/**
 * Deterministic DDIM with a network that gives a constant c: every step keeps x̂_0 as it was, so that
 * x_0 = x_T / √ᾱ − c √((1 − ᾱ) / ᾱ), with the ᾱ of the first timestep visited.
 */
import type { Ddpm, SampleOptions, SampleProgress } from '../../lib';
import { answerOf, answers, constantNetwork, pixels } from './constantNetwork';
import { normals, relativeToLargest } from './numbers';

const count = 2;
const noise = normals(count * answers.length * pixels, 8);

let ddpm: Ddpm;
beforeAll(async () => {
  ddpm = await constantNetwork();
});
afterAll(() => ddpm.dispose());

test('the network is constant', async () => {
  const { data } = await ddpm.predictNoise(noise, [0, 999]);
  expect([...data]).toEqual(Array.from(noise, (_, i) => answerOf(i)));
});

describe.each(['leading', 'trailing', 'linspace'] satisfies SampleOptions['timestepSpacing'][])(
  '%s',
  (timestepSpacing) => {
    test.each([1, 7, 10, 53, 999, 1000])('%d steps', async (steps) => {
      const progress: SampleProgress[] = [];
      const images = await ddpm.sample(count, {
        sampler: 'ddim',
        steps,
        timestepSpacing,
        noise,
        output: 'float32',
        onProgress: (at) => progress.push(at),
      });

      const first = ddpm.diffusion.samplerTimesteps(steps, timestepSpacing)[0];
      const alphaBar = ddpm.diffusion.schedule('alphas_cumprod')[first];
      const x0 = Float64Array.from(
        noise,
        (x, i) => x / Math.sqrt(alphaBar) - answerOf(i) * Math.sqrt((1 - alphaBar) / alphaBar),
      );
      expect(relativeToLargest(images.data, x0)).toBeLessThanOrEqual(1e-5);

      // Both images go through the network together: a report for each network call.
      expect(progress).toEqual(
        Array.from({ length: steps }, (_, i) => ({ step: count * (i + 1), totalSteps: count * steps })),
      );
    });
  },
);
