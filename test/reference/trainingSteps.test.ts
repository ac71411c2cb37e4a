/** Eight training steps against those of the reference implementation: loss, clipping, warm-up, Adam and EMA in one. */
import { readFile } from 'node:fs/promises';
import { Ddpm, type Tensor, type TrainStepResult } from '../../lib';
import { device } from '../helpers/device';
import { type FixtureTensor, readTensors, referencePath } from '../helpers/fixtures';
import { largestDifference, relativeEach } from '../model/numbers';

let expected: { losses: number[]; grad_norms: number[]; learning_rates: number[] };
let reference: Record<string, FixtureTensor>;
let results: TrainStepResult[];
let parameters: Record<'raw' | 'ema', Map<string, Tensor>>;

beforeAll(async () => {
  expected = JSON.parse(await readFile(referencePath('training_steps.json'), 'utf8'));
  reference = await readTensors(referencePath('training_steps.safetensors'));
  await using ddpm = await Ddpm.load(referencePath('unet', 'ho-rgb-32'), {
    device,
    optimizer: { learningRate: 2e-4, warmupSteps: 4 },
    ema: { decay: 0.9, warmup: false },
  });
  const step = <T extends Float32Array | BigInt64Array>(name: string, i: number) => {
    const { data, shape } = reference[name];
    const length = data.length / shape[0];
    return data.subarray(i * length, (i + 1) * length) as T;
  };
  results = [];
  for (let i = 0; i < 8; i++) {
    const x0 = step<Float32Array>('x_start', i);
    const noise = step<Float32Array>('noise', i);
    const t = Array.from(step<BigInt64Array>('t', i), Number);
    results.push(await ddpm.trainStep({ x0, t, noise }));
  }
  expect(ddpm.step).toBe(8);
  parameters = { raw: await ddpm.parameters({ weights: 'raw' }), ema: await ddpm.parameters({ weights: 'ema' }) };
});

test('losses agree to a relative 1e-5', () => {
  expect(
    relativeEach(
      results.map(({ loss }) => loss),
      expected.losses,
    ),
  ).toBeLessThanOrEqual(1e-5);
});

test('gradient norms before clipping agree to a relative 1e-5, and were clipped', () => {
  expect(
    relativeEach(
      results.map(({ gradientNorm }) => gradientNorm),
      expected.grad_norms,
    ),
  ).toBeLessThanOrEqual(1e-5);
  expect(Math.min(...expected.grad_norms)).toBeGreaterThan(1);
});

test('the learning rate warms up over four updates', () => {
  expect(
    relativeEach(
      results.map(({ learningRate }) => learningRate),
      expected.learning_rates,
    ),
  ).toBeLessThanOrEqual(1e-12);
});

test.each([
  ['weights', 'raw'],
  ['ema', 'ema'],
] as const)('%s after the last step agree to 2e-6', (prefix, set) => {
  const names = Object.keys(reference).filter((name) => name.startsWith(`${prefix}.`));
  expect(names).toHaveLength(6);
  for (const name of names) {
    const { data, shape } = parameters[set].get(name.slice(prefix.length + 1)) as Tensor;
    expect(shape).toEqual(reference[name].shape);
    expect(largestDifference(data, reference[name].data as Float32Array)).toBeLessThanOrEqual(2e-6);
  }
});
