/** Whole networks against those of the reference implementation, loaded from its own files. */
import { Ddpm, type ResolvedConfig } from '../../lib';
import { device } from '../helpers/device';
import { type FixtureTensor, readTensors, referencePath } from '../helpers/fixtures';
import { relativeToLargest } from '../model/numbers';

/** What the folders' files say, much of it other than our defaults. */
const folders = {
  'ho-rgb-32': {
    image: { height: 32, width: 32, channels: 3 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 1, 2, 2],
      blocksPerLevel: 2,
      attentionResolutions: [16],
      attentionHeadChannels: null,
      dropout: 0,
      normGroups: 32,
      normEpsilon: 1e-6,
      classes: 0,
      downsamplePadding: 'asymmetric',
      flipSinToCos: false,
      frequencyShift: 1,
    },
    diffusion: { varianceType: 'fixed_large', timesteps: 1000, betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02 },
  },
  'legacy-16': {
    image: { height: 16, width: 16, channels: 3 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 1],
      blocksPerLevel: 1,
      attentionResolutions: [8],
      attentionHeadChannels: null,
      dropout: 0,
      normGroups: 32,
      normEpsilon: 1e-6,
      downsamplePadding: 'asymmetric',
      flipSinToCos: false,
      frequencyShift: 1,
    },
    diffusion: { varianceType: 'fixed_small' },
  },
  'gray-28': {
    image: { height: 28, width: 28, channels: 1 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 2, 2],
      blocksPerLevel: 1,
      attentionResolutions: [14, 7],
      attentionHeadChannels: 8,
      dropout: 0,
      normGroups: 16,
      normEpsilon: 1e-5,
      downsamplePadding: 'symmetric',
      flipSinToCos: true,
      frequencyShift: 0,
    },
    diffusion: { varianceType: 'fixed_large' },
  },
  'class-16': {
    image: { height: 16, width: 16, channels: 3 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 2],
      blocksPerLevel: 1,
      attentionResolutions: [8],
      attentionHeadChannels: 16,
      dropout: 0,
      normGroups: 8,
      normEpsilon: 1e-5,
      classes: 10,
      downsamplePadding: 'symmetric',
      flipSinToCos: true,
      frequencyShift: 0,
    },
    diffusion: { varianceType: 'fixed_large' },
  },
  'learned-sigma-16': {
    image: { height: 16, width: 16, channels: 3 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 2],
      blocksPerLevel: 1,
      attentionResolutions: [8],
      attentionHeadChannels: null,
      dropout: 0,
      normGroups: 8,
      normEpsilon: 1e-6,
      downsamplePadding: 'asymmetric',
      flipSinToCos: false,
      frequencyShift: 1,
    },
    diffusion: { varianceType: 'learned_range' },
  },
} as const satisfies Record<string, { [K in keyof ResolvedConfig]?: Partial<ResolvedConfig[K]> }>;

const load = (name: string) => Ddpm.load(referencePath('unet', name), { device });

const floats = ({ data }: FixtureTensor) => data as Float32Array;
const integers = ({ data }: FixtureTensor) => Array.from(data as BigInt64Array, Number);

describe.each(Object.entries(folders))('%s', (name, settings) => {
  let ddpm: Ddpm;
  let io: Record<string, FixtureTensor>;

  beforeAll(async () => {
    ddpm = await load(name);
    io = await readTensors(referencePath('unet', name, 'io.safetensors'));
  });
  afterAll(() => ddpm.dispose());

  test('takes its settings from its files', () => {
    expect(ddpm.config).toMatchObject(settings);
  });

  // Both sets of weights come from the file; one network pass in float32 agrees to 2e-5 of the largest output.
  test.each(['ema', 'raw'] as const)('gives the reference outputs from its %s weights', async (weights) => {
    const classLabels = io.class_labels && integers(io.class_labels);
    const output = await ddpm.predictNoise(floats(io.sample), integers(io.timesteps), { weights, classLabels });
    expect(output.shape).toEqual(io.output.shape);
    expect(relativeToLargest(output.data, floats(io.output))).toBeLessThanOrEqual(2e-5);
  });

  test('gives each image the same output when it is alone', async () => {
    const labels = io.class_labels && integers(io.class_labels);
    const [count, ...image] = io.sample.shape;
    const size = image.reduce((product, side) => product * side);
    const outputSize = io.output.data.length / count;
    for (const [i, t] of integers(io.timesteps).entries()) {
      const x = floats(io.sample).subarray(i * size, (i + 1) * size);
      const { data } = await ddpm.predictNoise(x, t, { classLabels: labels?.[i] });
      const expected = floats(io.output).subarray(i * outputSize, (i + 1) * outputSize);
      expect(relativeToLargest(data, expected)).toBeLessThanOrEqual(2e-5);
    }
  });
});

describe('a network with a learned variance', () => {
  let ddpm: Ddpm;
  beforeAll(async () => {
    ddpm = await load('learned-sigma-16');
  });
  afterAll(() => ddpm.dispose());

  test('has two values for each of the image', async () => {
    const { shape } = await ddpm.predictNoise(new Float32Array(3 * 16 * 16), 0);
    expect(shape).toEqual([1, 6, 16, 16]);
  });

  const x = new Float32Array(3 * 16 * 16);
  test.each([
    ['sample()', 'sampling', () => ddpm.sample(1)],
    ['trainStep()', 'training', () => ddpm.trainStep({ x0: x, t: 0, noise: x })],
    ['diffusion.step()', 'sampling', async () => ddpm.diffusion.step(x, 0, x)],
  ])('%s is refused by name', async (_, work, call) => {
    await expect(call()).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message:
        "diffusion.varianceType: expected 'fixed_large' or 'fixed_small' " +
        `(this version does not support ${work} with a learned variance), got 'learned_range' (string)`,
    });
  });
});
