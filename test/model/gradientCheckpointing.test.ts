/** Gradient checkpointing changes what is kept, and nothing of what is learned. */
import { Ddpm, type DdpmConfig } from '../../lib';
import { images } from '../checkpoint/state/support';
import { flat, randomModel, small, valuesOf } from './models';
import { relativeToLargest } from './numbers';

const config: DdpmConfig = {
  ...small,
  unet: { ...small.unet, blocksPerLevel: 2, dropout: 0.3, classes: 3 },
  optimizer: { learningRate: 1e-3, warmupSteps: 0 },
};

/** The loss of one step, and its gradient. */
async function step(ddpm: Ddpm, gradientCheckpointing: boolean, gradientAccumulation: number) {
  const { loss } = await ddpm.train(await images(), {
    steps: ddpm.step + 1,
    batchSize: 4,
    gradientAccumulation,
    gradientCheckpointing,
  });
  return { loss, gradient: flat(await valuesOf(ddpm, 'gradient')) };
}

// The gradients of what several blocks share add up in another order.
test.each([
  { precision: 'float32', gradientAccumulation: 1, bound: 2e-6 },
  { precision: 'float32', gradientAccumulation: 3, bound: 2e-6 },
  { precision: 'bfloat16', gradientAccumulation: 1, bound: 1e-2 },
] as const)('the same loss, and the same gradient up to rounding: %j', async (how) => {
  const { precision, gradientAccumulation, bound } = how;
  await using kept = await randomModel({ ...config, precision });
  await using again = await randomModel({ ...config, precision });
  const expected = await step(kept, false, gradientAccumulation);
  const got = await step(again, true, gradientAccumulation);
  expect(got.loss).toBe(expected.loss);
  expect(relativeToLargest(got.gradient, expected.gradient)).toBeLessThan(bound);
  expect(Math.max(...expected.gradient)).toBeGreaterThan(0.01);
});

test('an abort in the middle of it leaves the model usable', async () => {
  await using ddpm = new Ddpm(config);
  const stop = new AbortController();
  const training = ddpm.train(await images(), {
    steps: 1e6,
    batchSize: 4,
    gradientCheckpointing: true,
    onProgress: ({ step }) => step === 2 && stop.abort(),
    signal: stop.signal,
  });
  await expect(training).rejects.toMatchObject({ name: 'AbortError' });
  await ddpm.train(await images(), { steps: ddpm.step + 1, batchSize: 4, gradientCheckpointing: true });
});
