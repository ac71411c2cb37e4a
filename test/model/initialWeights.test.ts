/** How the weights start. */
import { Ddpm, type DdpmConfig, type Tensor } from '../../lib';
import { sameParameters, small, valuesOf } from './models';
import { largest, mean, variance } from './numbers';

const config: DdpmConfig = {
  ...small,
  image: { size: 8, channels: 3 },
  unet: { ...small.unet, channels: 32, blocksPerLevel: 2, classes: 5 },
};

let parameters: Map<string, Tensor>;
beforeAll(async () => {
  await using ddpm = new Ddpm(config);
  parameters = await ddpm.parameters();
});

/** The parameters that a test is about; there are some of them. */
function those(pick: (name: string) => boolean): [string, Tensor][] {
  const picked = [...parameters].filter(([name]) => pick(name));
  expect(picked.length).toBeGreaterThan(0);
  return picked;
}

const isBias = (name: string) => name.endsWith('.bias');
const isNorm = (name: string) => /norm\w*\.weight$/.test(name);
const startsAtZero = (name: string) => /(\.conv2|\.to_out\.0|^conv_out)\.weight$/.test(name);
const isEmbedding = (name: string) => name === 'class_embedding.weight';

test('the second convolution of each block, the output of attention and the last convolution start at zero', () => {
  const zeros = those(startsAtZero).map(([name]) => name);
  expect(zeros.filter((name) => name.endsWith('.conv2.weight'))).toHaveLength(2 * 2 + 2 + 2 * 3);
  expect(zeros.filter((name) => name.endsWith('.to_out.0.weight'))).toHaveLength(2 + 1 + 3);
  expect(zeros).toContain('conv_out.weight');
  for (const [, { data }] of those(startsAtZero)) expect(largest(data)).toBe(0);
});

test('biases start at zero', () => {
  for (const [, { data }] of those(isBias)) expect(largest(data)).toBe(0);
});

test('normalizations start as they are: times one', () => {
  for (const [, { data }] of those(isNorm)) expect(data.every((value) => value === 1)).toBe(true);
});

test('all other weights are uniform over ±√(6 / (fan_in + fan_out))', () => {
  const others = those((name) => ![isBias, isNorm, startsAtZero, isEmbedding].some((is) => is(name)));
  expect(others.map(([name]) => name)).toEqual(
    expect.arrayContaining(['conv_in.weight', 'time_embedding.linear_1.weight', 'mid_block.attentions.0.to_q.weight']),
  );
  for (const [name, { data, shape }] of others) {
    const [out, into, ...kernel] = shape;
    const receptive = kernel.reduce((product, side) => product * side, 1);
    const limit = Math.sqrt(6 / (receptive * (into + out)));
    const n = data.length;
    // Of a uniform distribution: variance limit²/3; the mean's standard error is σ/√n, the variance's σ²√(4/(5n)).
    const sigma = limit / Math.sqrt(3);
    expect([name, largest(data) <= limit]).toEqual([name, true]);
    expect([name, largest(data) > limit * (1 - 20 / n)]).toEqual([name, true]);
    expect([name, Math.abs(mean(data)) < (5 * sigma) / Math.sqrt(n)]).toEqual([name, true]);
    expect([name, Math.abs(variance(data) / sigma ** 2 - 1) < 5 * Math.sqrt(4 / (5 * n))]).toEqual([name, true]);
  }
});

test('class embeddings are standard normal', () => {
  const { data, shape } = parameters.get('class_embedding.weight') as Tensor;
  expect(shape).toEqual([5, 4 * 32]);
  expect(Math.abs(mean(data))).toBeLessThan(5 / Math.sqrt(data.length));
  expect(Math.abs(variance(data) - 1)).toBeLessThan(5 * Math.sqrt(2 / data.length));
});

test('each parameter is drawn apart', () => {
  const drawn = those((name) => /to_[qkv]\.weight$/.test(name)).map(([, { data }]) => data.slice(0, 64).join());
  expect(new Set(drawn).size).toBe(drawn.length);
});

test('a fresh network predicts zero, whatever it is given', async () => {
  await using ddpm = new Ddpm(config);
  const x = new Float32Array(2 * 3 * 64).fill(0.7);
  expect(largest((await ddpm.predictNoise(x, [3, 900], { classLabels: [0, 4] })).data)).toBe(0);
});

test('the seed decides', async () => {
  await using a = new Ddpm({ ...config, seed: 11 });
  await using b = new Ddpm({ ...config, seed: 11 });
  await using c = new Ddpm({ ...config, seed: 2 ** 33 + 11 });
  expect(sameParameters(await valuesOf(a, 'raw'), await valuesOf(b, 'raw'))).toBe(true);
  expect(sameParameters(await valuesOf(a, 'raw'), await valuesOf(a, 'ema'))).toBe(true);
  expect(sameParameters(await valuesOf(a, 'raw'), await valuesOf(c, 'raw'))).toBe(false);
});
