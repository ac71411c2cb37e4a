/** Chains at the ends of what numbers can hold: few steps of a long one, and those that are refused. */
import { Ddpm, type DiffusionOptions, type SampleOptions } from '../../lib';
import { small } from './models';
import { normals, relativeToLargest } from './numbers';

// A new network answers 0, so x̂_0 = x_t / √ᾱ at every step, and that of the first step stays.
test.each<SampleOptions>([
  { sampler: 'ddim', steps: 1 },
  { sampler: 'ddim', steps: 2 },
  { sampler: 'ddim', steps: 5 },
  { sampler: 'ddpm', steps: 1 },
  // The noise added between the two steps is nothing beside numbers of this size.
  { sampler: 'ddpm', steps: 2 },
])('few of 4000 steps, at whose end ᾱ is 3e-18: %j', async (options) => {
  await using ddpm = new Ddpm({ ...small, diffusion: { timesteps: 4000, clipSample: false } });
  const noise = normals(2 * 8 * 8, 3);
  const images = await ddpm.sample(2, { ...options, noise, seed: 1, output: 'float32' });
  const alphaBar = ddpm.diffusion.schedule('alphas_cumprod')[3999];
  expect(alphaBar).toBeLessThan(1e-17);
  const x0 = Float64Array.from(noise, (x) => x / Math.sqrt(alphaBar));
  expect(relativeToLargest(images.data, x0)).toBeLessThanOrEqual(1e-5);
});

test.each<[DiffusionOptions, RegExp]>([
  [
    { timesteps: 20_000 },
    /^diffusion: expected betas that leave alpha_bar, .*, at 1e-76 or more, got 9\.\S+e-77 at t = 18596; take smaller/,
  ],
  [
    { betas: [0.5, 1e-18] },
    /^diffusion\.betas: expected every beta between 2\^-53 and 1 \(exclusive\), got 1e-18 \(number\)$/,
  ],
])('%j is refused', (diffusion, message) => {
  expect(() => new Ddpm({ ...small, diffusion })).toThrow(
    expect.objectContaining({ name: 'DdpmError', code: 'ERR_CONFIG', message: expect.stringMatching(message) }),
  );
});

test('a chain of many small betas is not', async () => {
  await using ddpm = new Ddpm({ ...small, diffusion: { timesteps: 100_000, betaStart: 1e-6, betaEnd: 2e-4 } });
  expect((await ddpm.sample(1, { sampler: 'ddim', steps: 3 })).count).toBe(1);
});
