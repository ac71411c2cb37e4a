/**
 * Samplers in fewer steps with a network that gives a constant c: x_0 is normal then, and its mean and variance follow
 * from the coefficients by recursion. They are rebuilt here, in float64, from ᾱ at the timesteps visited alone.
 */
import type { Ddpm, DiffusionOptions, SampleOptions } from '../../lib';
import { answers, constantNetwork, pixels } from './constantNetwork';
import { mean, relativeToLargest, variance } from './numbers';

const count = 4096;
const steps = 10;

/**
 * All values of a channel are independent and have one law. An estimate from N of them has a standard error of σ/√N for
 * the mean and σ²√(2/N) for the variance; with the seed given, the estimates are what they are.
 */
const standardErrors = 4;

type Spacing = Required<SampleOptions>['timestepSpacing'];

/** x_{t−1} = fromX x_t + fromEps ε̂ + σ z. */
interface Step {
  fromX: number;
  fromEps: number;
  sigma: number;
}

type StepFunction = (alphaBar: number, alphaBarPrev: number) => Step;

/** ᾱ at the timesteps visited, noisiest first, and 1 for the clean image. */
function alphaBars({ diffusion }: Ddpm, spacing: Spacing): number[] {
  const alphaBar = diffusion.schedule('alphas_cumprod');
  return [...Array.from(diffusion.samplerTimesteps(steps, spacing), (t) => alphaBar[t]), 1];
}

/** Ho, Jain and Abbeel 2020, Equations 7 and 15, for the process that has only the timesteps visited. */
function ancestral(alphaBar: number, alphaBarPrev: number, varianceType: DiffusionOptions['varianceType']): Step {
  const alpha = alphaBar / alphaBarPrev;
  const beta = 1 - alpha;
  const fromX0 = (Math.sqrt(alphaBarPrev) * beta) / (1 - alphaBar);
  const fromXt = (Math.sqrt(alpha) * (1 - alphaBarPrev)) / (1 - alphaBar);
  const betaTilde = ((1 - alphaBarPrev) / (1 - alphaBar)) * beta;
  const sigma = alphaBarPrev === 1 ? 0 : Math.sqrt(varianceType === 'fixed_small' ? betaTilde : beta);
  return {
    fromX: fromX0 / Math.sqrt(alphaBar) + fromXt,
    fromEps: (-fromX0 * Math.sqrt(1 - alphaBar)) / Math.sqrt(alphaBar),
    sigma,
  };
}

/** Song, Meng and Ermon 2021, Equations 12 and 16. */
function ddim(alphaBar: number, alphaBarPrev: number, eta: number): Step {
  const sigma = eta * Math.sqrt((1 - alphaBarPrev) / (1 - alphaBar)) * Math.sqrt(1 - alphaBar / alphaBarPrev);
  const fromX = Math.sqrt(alphaBarPrev / alphaBar);
  return { fromX, fromEps: Math.sqrt(1 - alphaBarPrev - sigma ** 2) - fromX * Math.sqrt(1 - alphaBar), sigma };
}

type Moments = { mean: number; variance: number };

/** Mean and variance of x_0, from those of x_T. */
function moments(xT: Moments, alphaBar: number[], step: StepFunction, eps: number): Moments {
  let { mean: m, variance: v } = xT;
  for (let i = 0; i + 1 < alphaBar.length; i++) {
    const { fromX, fromEps, sigma } = step(alphaBar[i], alphaBar[i + 1]);
    m = fromX * m + fromEps * eps;
    v = fromX ** 2 * v + sigma ** 2;
  }
  return { mean: m, variance: v };
}

function channelOf(data: ArrayLike<number>, channel: number): Float64Array {
  const values = new Float64Array(count * pixels);
  for (let i = 0; i < values.length; i++) {
    const image = Math.floor(i / pixels);
    values[i] = data[(image * answers.length + channel) * pixels + (i % pixels)];
  }
  return values;
}

/**
 * The paper's schedule, where what x_T starts with and the first steps' noise are amplified over everything else; and a
 * gentle one from a given x_T, where the noise of each step counts.
 */
const chains = [
  { start: { mean: 0, variance: 1 } },
  { start: { mean: 0.5, variance: 0 }, schedule: { betaStart: 1e-4, betaEnd: 1e-3 } },
] satisfies { start: Moments; schedule?: DiffusionOptions }[];

type Case = SampleOptions & { varianceType: 'fixed_small' | 'fixed_large'; timestepSpacing: Spacing };

test.each<Case>([
  { sampler: 'ddpm', varianceType: 'fixed_small', timestepSpacing: 'leading' },
  { sampler: 'ddpm', varianceType: 'fixed_small', timestepSpacing: 'trailing' },
  { sampler: 'ddpm', varianceType: 'fixed_small', timestepSpacing: 'linspace' },
  { sampler: 'ddpm', varianceType: 'fixed_large', timestepSpacing: 'trailing' },
  { sampler: 'ddim', eta: 0.5, varianceType: 'fixed_large', timestepSpacing: 'leading' },
  { sampler: 'ddim', eta: 0.5, varianceType: 'fixed_large', timestepSpacing: 'trailing' },
  { sampler: 'ddim', eta: 1, varianceType: 'fixed_large', timestepSpacing: 'trailing' },
])('x_0 has the right mean and variance: %j', async ({ varianceType, ...options }) => {
  const step: StepFunction =
    options.sampler === 'ddim'
      ? (alphaBar, prev) => ddim(alphaBar, prev, options.eta as number)
      : (alphaBar, prev) => ancestral(alphaBar, prev, varianceType);
  for (const { start, schedule } of chains) {
    await using ddpm = await constantNetwork({ ...schedule, varianceType });
    const noise = start.variance === 0 ? new Float32Array(count * answers.length * pixels).fill(start.mean) : undefined;
    const { data } = await ddpm.sample(count, {
      ...options,
      steps,
      noise,
      seed: 9,
      batchSize: count,
      output: 'float32',
    });
    for (const [channel, eps] of answers.entries()) {
      const values = channelOf(data, channel);
      const expected = moments(start, alphaBars(ddpm, options.timestepSpacing), step, eps);
      const meanError = Math.sqrt(expected.variance / values.length);
      const varianceError = expected.variance * Math.sqrt(2 / values.length);
      expect(Math.abs(mean(values) - expected.mean) / meanError).toBeLessThan(standardErrors);
      expect(Math.abs(variance(values) - expected.variance) / varianceError).toBeLessThan(standardErrors);
    }
  }
});

test('ddim with η = 1 and no clipping is the ancestral sampler with the small variance, image by image', async () => {
  await using ddpm = await constantNetwork({ varianceType: 'fixed_small' });
  const options = { steps, seed: 3, output: 'float32' } as const;
  const images = await ddpm.sample(4, { ...options, sampler: 'ddim', eta: 1 });
  const ancestralImages = await ddpm.sample(4, { ...options, sampler: 'ddpm' });
  expect(relativeToLargest(images.data, ancestralImages.data)).toBeLessThan(1e-5);
});
