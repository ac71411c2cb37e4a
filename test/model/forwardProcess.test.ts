/** The forward process and its posterior against their equations, in float64 from the betas alone. */
import { Ddpm } from '../../lib';
import { small } from './models';
import { normals, relativeEach, relativeToLargest } from './numbers';

const size = 8 * 8;
const x0 = normals(size, 1);
const other = normals(size, 2);
const float32 = 2 ** -22; // a few roundings to 24 bits

let ddpm: Ddpm;
beforeAll(() => {
  ddpm = new Ddpm(small);
});
afterAll(() => ddpm.dispose());

/** The paper's linear schedule, and ᾱ = Π (1 − β). */
const betaAt = (t: number) => 1e-4 + ((0.02 - 1e-4) * t) / 999;
function alphaBarAt(t: number): number {
  let product = 1;
  for (let s = 0; s <= t; s++) product *= 1 - betaAt(s);
  return product;
}

describe.each([0, 487, 999])('t = %d', (t) => {
  const beta = betaAt(t);
  const alphaBar = alphaBarAt(t);
  const alphaBarPrev = alphaBarAt(t - 1);

  test('the schedule is the equations', () => {
    const expected = {
      betas: beta,
      alphas_cumprod: alphaBar,
      alphas_cumprod_prev: alphaBarPrev,
      sqrt_alphas_cumprod: Math.sqrt(alphaBar),
      sqrt_one_minus_alphas_cumprod: Math.sqrt(1 - alphaBar),
      posterior_variance: ((1 - alphaBarPrev) / (1 - alphaBar)) * beta,
      posterior_mean_coef_x0: (Math.sqrt(alphaBarPrev) * beta) / (1 - alphaBar),
      posterior_mean_coef_xt: (Math.sqrt(1 - beta) * (1 - alphaBarPrev)) / (1 - alphaBar),
    };
    for (const [quantity, value] of Object.entries(expected)) {
      const found = ddpm.diffusion.schedule(quantity as keyof typeof expected)[t];
      expect([quantity, relativeEach([found], [value])]).toEqual([quantity, expect.closeTo(0, 11)]);
    }
  });

  test('addNoise is Equation 4', () => {
    const { data, shape } = ddpm.diffusion.addNoise(x0, t, other);
    const expected = x0.map((x, i) => Math.sqrt(alphaBar) * x + Math.sqrt(1 - alphaBar) * other[i]);
    expect(shape).toEqual([1, 1, 8, 8]);
    expect(relativeToLargest(data, expected)).toBeLessThan(float32);
  });

  test('posterior is Equations 6 and 7', () => {
    const { mean, variance, logVariance } = ddpm.diffusion.posterior(x0, other, t);
    const fromX0 = (Math.sqrt(alphaBarPrev) * beta) / (1 - alphaBar);
    const fromXt = (Math.sqrt(1 - beta) * (1 - alphaBarPrev)) / (1 - alphaBar);
    const expected = x0.map((x, i) => fromX0 * x + fromXt * other[i]);
    expect(mean.shape).toEqual([1, 1, 8, 8]);
    expect(relativeToLargest(mean.data, expected)).toBeLessThan(float32);
    const betaTilde = ((1 - alphaBarPrev) / (1 - alphaBar)) * beta;
    expect(relativeEach(variance, [betaTilde])).toBeLessThan(1e-11);
    expect(logVariance[0]).toBeCloseTo(Math.log(betaTilde), 10);
  });

  test('the noise that was added is found again', () => {
    const xt = ddpm.diffusion.addNoise(x0, t, other);
    const { x0: found } = ddpm.diffusion.step(other, t, xt);
    // x̂_0 is clipped; a rounding of x_t counts 1/√ᾱ as much in it.
    const clipped = x0.map((x) => Math.min(Math.max(x, -1), 1));
    expect(relativeToLargest(found.data, clipped)).toBeLessThan(float32 / Math.sqrt(alphaBar) + float32);
  });
});

test('at t = 0 the posterior is x_0 itself, without variance', () => {
  const { mean, variance, logVariance } = ddpm.diffusion.posterior(x0, other, 0);
  expect([...variance]).toEqual([0]);
  expect([...logVariance]).toEqual([-Infinity]);
  expect(relativeToLargest(mean.data, x0)).toBeLessThan(float32);
});

test('no noise is added at t = 0, and none where none is given', () => {
  const loud = normals(size, 3).map((z) => 100 * z);
  for (const [t, noise] of [
    [0, loud],
    [487, undefined],
  ] as const) {
    const { prev, x0: predicted } = ddpm.diffusion.step(other, t, x0, { noise });
    expect(relativeToLargest(prev.data, ddpm.diffusion.posterior(predicted, x0, t).mean.data)).toBeLessThan(float32);
  }
});

test('images of one call may be at different timesteps', () => {
  const images = Float32Array.of(...x0, ...x0, ...x0);
  const noise = Float32Array.of(...other, ...other, ...other);
  const t = [0, 487, 999];
  const { data } = ddpm.diffusion.addNoise(images, Int32Array.from(t), noise);
  const { mean, variance } = ddpm.diffusion.posterior(images, noise, t);
  for (const [i, each] of t.entries()) {
    const part = (all: Float32Array) => all.slice(i * size, (i + 1) * size);
    expect(part(data)).toEqual(ddpm.diffusion.addNoise(x0, each, other).data);
    expect(part(mean.data)).toEqual(ddpm.diffusion.posterior(x0, other, each).mean.data);
    expect(variance[i]).toBe(ddpm.diffusion.posterior(x0, other, each).variance[0]);
  }
});
