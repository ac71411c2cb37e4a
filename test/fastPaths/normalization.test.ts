/**
 * The normalization kernels by themselves, against their formulas in float64, where float32 runs out: channels far from
 * zero, a first pixel far from all others, values whose squares are beyond float32, maps that are the same all over,
 * groups of a single value, NaN and infinity.
 */
import type { Ddpm, DdpmConfig } from '../../lib';
import { device } from '../helpers/device';
import { modelWith, valuesOf } from '../model/models';
import { largest, largestDifference, normals, relativeToLargest, sameBits } from '../model/numbers';

const channels = 4;
const weight = normals(channels, 1).map((value) => 1 + 0.3 * value);
const usualBias = normals(channels, 2).map((value) => 0.3 * value);
const gain = Float32Array.of(0.5, -1, 2, 1);
const tap = normals(channels, 4);

interface Network {
  height: number;
  width: number;
  groups: number;
  /** Added to each channel. */
  base?: number;
  /** The normalization's bias. */
  bias?: ArrayLike<number>;
  precision?: DdpmConfig['precision'];
}

/**
 * A network that is one normalization: its first convolution gives a channel `gain` times the image plus `base`, its
 * blocks hand that on, and the last convolution adds the channels up, weighed by `tap`.
 */
function normalization({
  height,
  width,
  groups,
  base = 0,
  bias = usualBias,
  precision = 'float32',
}: Network): Promise<Ddpm> {
  const config: DdpmConfig = {
    image: { height, width, channels: 1 },
    unet: {
      channels,
      channelMultipliers: [1],
      blocksPerLevel: 1,
      attentionResolutions: [],
      normGroups: groups,
      dropout: 0,
    },
    diffusion: { betas: [1e-16] },
    optimizer: { gradientClip: null },
    device,
    precision,
  };
  return modelWith(config, (parameters) => {
    const centre = 4;
    const of = (name: string) => parameters.get(name) as Float32Array;
    of('conv_in.weight').fill(0);
    for (let c = 0; c < channels; c++) {
      of('conv_in.weight')[9 * c + centre] = gain[c];
      of('conv_out.weight')[9 * c + centre] = tap[c];
      for (const block of [0, 1]) {
        const shortcut = of(`up_blocks.0.resnets.${block}.conv_shortcut.weight`);
        if (c === 0) shortcut.fill(0);
        shortcut[2 * channels * c + c] = 1;
      }
    }
    of('conv_in.bias').fill(base);
    of('conv_norm_out.weight').set(weight);
    of('conv_norm_out.bias').set(bias);
  });
}

/** What such a network says of one image, and the derivatives of Σ(says − noise)² / pixels by its parameters. */
function formula(
  x: ArrayLike<number>,
  groups: number,
  base = 0,
  noise: ArrayLike<number> = new Float32Array(x.length),
) {
  const pixels = x.length;
  const size = channels / groups;
  const values = Array.from({ length: channels }, (_, c) =>
    Float64Array.from(x, (v) => Math.fround(gain[c] * v + base)),
  );
  const normalized: Float64Array[] = [];
  const rstd: number[] = [];
  for (let group = 0; group < groups; group++) {
    const all = values.slice(group * size, (group + 1) * size);
    const average = (f: (v: number) => number) =>
      all.reduce((sum, map) => sum + map.reduce((s, v) => s + f(v), 0), 0) / (size * pixels);
    const mean = average((v) => v);
    const r = 1 / Math.sqrt(average((v) => (v - mean) ** 2) + 1e-6);
    for (const map of all) {
      normalized.push(map.map((v) => (v - mean) * r));
      rstd.push(r);
    }
  }
  const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
  const before = normalized.map((map, c) => map.map((v) => weight[c] * v + usualBias[c]));
  const output = Float64Array.from({ length: pixels }, (_, i) =>
    before.reduce((sum, map, c) => sum + tap[c] * map[i] * sigmoid(map[i]), 0),
  );
  const upstream = output.map((value, i) => (2 * (value - noise[i])) / pixels);
  const g = before.map((map, c) => map.map((v, i) => upstream[i] * tap[c] * sigmoid(v) * (1 + v * (1 - sigmoid(v)))));
  const sum = (map: Float64Array, f: (v: number, i: number) => number) => map.reduce((s, v, i) => s + f(v, i), 0);
  const inputGradient = g.map((map, c) => {
    const first = Math.floor(c / size) * size;
    const group = Array.from({ length: size }, (_, k) => first + k);
    const average = (f: (k: number, v: number, i: number) => number) =>
      group.reduce((s, k) => s + sum(g[k], (v, i) => weight[k] * f(k, v, i)), 0) / (size * pixels);
    const meanG = average((_, v) => v);
    const meanGx = average((k, v, i) => v * normalized[k][i]);
    return map.map((v, i) => rstd[c] * (weight[c] * v - meanG - normalized[c][i] * meanGx));
  });
  return {
    output,
    weight: g.map((map, c) => sum(map, (v, i) => v * normalized[c][i])),
    bias: g.map((map) => sum(map, (v) => v)),
    gain: inputGradient.map((map) => sum(map, (v, i) => v * x[i])),
    rstd,
  };
}

// LibTorch's own normalization, which DDPM_PLAIN=1 leaves in place, is held to the plain input alone.
const plain = process.env.DDPM_PLAIN === '1';
const bound = plain ? 1e-4 : 1e-5;

/** An image of numbers that bfloat16 has, as are their products with `gain`. */
function image(pixels: number, change: (x: Float32Array) => void = () => {}): Float32Array {
  const x = normals(pixels, 5).map((value) => Math.round(16 * value) / 16);
  change(x);
  return x;
}

describe.each([
  { height: 1, width: 1, groups: 4 },
  { height: 1, width: 2, groups: 1 },
  { height: 5, width: 7, groups: 2 },
  { height: 8, width: 8, groups: 4 },
  { height: 33, width: 32, groups: 2 },
  { height: 48, width: 64, groups: 4 },
])('%j', (network) => {
  const pixels = network.height * network.width;
  const usual: [string, number, Float32Array][] = [
    ['plain', 0, image(pixels)],
    ['a first pixel far from all others', 0, image(pixels, (x) => x.set([9984]))],
    ['a last pixel far from all others', 0, image(pixels, (x) => x.set([9984], pixels - 1))],
    ['the same all over', 0, image(pixels, (x) => x.fill(2))],
  ];
  const offset: typeof usual = [
    ['far from zero', 1024, image(pixels)],
    ['the same all over, far from zero', 1024, image(pixels, (x) => x.fill(2))],
  ];
  const extreme: typeof usual = [1e-20, 1e15, 1e30].map((scale) => [
    `of ${scale}`,
    0,
    image(pixels).map((value) => scale * value),
  ]);

  test.each(plain ? usual.slice(0, 1) : [...usual, ...offset, ...extreme])('%s', async (_, base, x) => {
    await using ddpm = await normalization({ ...network, base });
    const { data } = await ddpm.predictNoise(x, 0);
    expect(relativeToLargest(data, formula(x, network.groups, base).output)).toBeLessThan(bound);
  });

  test.each(plain ? usual.slice(0, 1) : [...usual, ...offset])('gradients: %s', async (_, base, x) => {
    const noise = normals(pixels, 6);
    await using ddpm = await normalization({ ...network, base });
    const expected = formula(x, network.groups, base, noise);
    await ddpm.trainStep({ x0: x, noise, t: 0 });
    const got = await valuesOf(ddpm, 'gradient');
    const of = (name: string) => got.get(name) as Float32Array;
    const size = largest([...expected.weight, ...expected.bias]);
    expect(largestDifference(of('conv_norm_out.weight'), expected.weight)).toBeLessThan(1e-5 * size);
    expect(largestDifference(of('conv_norm_out.bias'), expected.bias)).toBeLessThan(1e-5 * size);
    const centre = of('conv_in.weight').filter((__, i) => i % 9 === 4);
    const slope = Math.max(...expected.rstd) * largest(x);
    expect(largestDifference(centre, expected.gain)).toBeLessThan(1e-5 * size * slope);
  });

  test.each(plain ? usual.slice(0, 1) : usual)('bfloat16: %s', async (_, base, x) => {
    await using ddpm = await normalization({ ...network, base, precision: 'bfloat16' });
    const { data } = await ddpm.predictNoise(x, 0);
    expect(relativeToLargest(data, formula(x, network.groups, base).output)).toBeLessThan(1e-2);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 3e38])('%d in one image stays in it', async (value) => {
    await using ddpm = await normalization(network);
    const x = image(3 * pixels);
    const clean = await ddpm.predictNoise(x, 0);
    x[2 * pixels - 1] = value;
    const { data } = await ddpm.predictNoise(x, 0);
    const apart = [0, 1, 2].map((i) => data.slice(i * pixels, (i + 1) * pixels));
    expect(apart[1].some(Number.isFinite)).toBe(false);
    for (const i of [0, 2]) expect(sameBits(apart[i], clean.data.slice(i * pixels, (i + 1) * pixels))).toBe(true);
  });
});

test('SiLU of what is far below zero is zero, and flat', async () => {
  await using ddpm = await normalization({
    height: 8,
    width: 8,
    groups: 2,
    bias: new Float32Array(channels).fill(-1e37),
  });
  const { data } = await ddpm.predictNoise(image(64), 0);
  expect(largest(data)).toBeLessThan(1e-30);
  await ddpm.trainStep({ x0: image(64), noise: normals(64, 6), t: 0 });
  const gradient = await valuesOf(ddpm, 'gradient');
  expect(largest(gradient.get('conv_norm_out.bias') as Float32Array)).toBeLessThan(1e-30);
});
