import { type DdpmConfig, type DiffusionOptions, requireFixedVariance, resolveConfig } from '../../lib/config';

const rgb = (size: number) => ({ size, channels: 3 });

function refused(config: DdpmConfig): string {
  try {
    resolveConfig(config);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}

test("what is left out is the paper's CIFAR-10 model", () => {
  expect(resolveConfig({ image: rgb(32) })).toEqual({
    image: { height: 32, width: 32, channels: 3 },
    unet: {
      channels: 128,
      channelMultipliers: [1, 2, 2, 2],
      blocksPerLevel: 2,
      attentionResolutions: [16],
      attentionHeadChannels: null,
      dropout: 0.1,
      normGroups: 32,
      normEpsilon: 1e-6,
      classes: 0,
      downsamplePadding: 'asymmetric',
      flipSinToCos: false,
      frequencyShift: 1,
    },
    diffusion: {
      timesteps: 1000,
      betaSchedule: 'linear',
      betaStart: 1e-4,
      betaEnd: 0.02,
      betas: null,
      predictionType: 'epsilon',
      varianceType: 'fixed_large',
      loss: 'simple',
      clipSample: true,
    },
    optimizer: {
      learningRate: 2e-4,
      warmupSteps: 5000,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
      gradientClip: 1,
    },
    ema: { decay: 0.9999, warmup: true },
    device: 'auto',
    precision: 'float32',
    seed: 0,
  });
});

test('an undefined option is one left out; null stays where it means something', () => {
  const image = rgb(32);
  const config = resolveConfig({
    image,
    unet: undefined,
    seed: undefined,
    optimizer: { learningRate: undefined, gradientClip: null },
  });
  expect(config).toEqual({ ...resolveConfig({ image }), optimizer: { ...config.optimizer } });
  expect(config.optimizer).toMatchObject({ learningRate: 2e-4, gradientClip: null });
});

test.each<DdpmConfig>([
  { image: rgb(32) },
  { image: rgb(8), unet: { channelMultipliers: [1, 2] } },
  { image: rgb(28), unet: { channelMultipliers: [1, 2, 2], attentionResolutions: [] }, precision: 'bfloat16', seed: 9 },
  { image: rgb(32), diffusion: { betas: [0.1, 0.2] } },
  { image: rgb(32), diffusion: { betaSchedule: 'cosine', varianceType: 'learned_range' } },
])('a resolved configuration resolves to itself: %j', (config) => {
  const resolved = resolveConfig(config);
  expect(resolveConfig(resolved)).toEqual(resolved);
});

test('the result is frozen all the way down and shares nothing with what was given', () => {
  const betas = [0.1, 0.2];
  const given: DdpmConfig = { image: rgb(32), diffusion: { betas } };
  const resolved = resolveConfig(given);
  betas[0] = 0.5;
  expect(resolved.diffusion.betas).toEqual([0.1, 0.2]);
  expect(Object.isFrozen(given)).toBe(false);
  expect(() => Object.assign(resolved, { seed: 1 })).toThrow(TypeError);
  expect(() => Object.assign(resolved.unet, { dropout: 1 })).toThrow(TypeError);
  expect(() => (resolved.unet.channelMultipliers as number[]).push(1)).toThrow(TypeError);
});

describe('image', () => {
  test('two sides, or one size for both', () => {
    const image = { height: 32, width: 64, channels: 1 };
    expect(resolveConfig({ image }).image).toEqual(image);
  });

  test.each([
    [{ channels: 3 }, '{ channels: 3 }'],
    [{ height: 32, channels: 3 }, '{ channels: 3, height: 32 }'],
    [{ size: 32, width: 32, channels: 3 }, '{ channels: 3, size: 32, width: 32 }'],
  ])('%j is neither', (image, shown) => {
    expect(refused({ image: image as DdpmConfig['image'] })).toBe(
      `image: expected either size or both height and width, got ${shown} (object)`,
    );
  });

  test.each([
    [28, 4, 8, '24 or 32'],
    [33, 4, 8, '32 or 40'],
    [5, 4, 8, '8'],
    [8191, 3, 4, '8188 or 8192'],
    [100, 6, 32, '96 or 128'],
  ])('size %d does not halve for %d levels', (size, levels, factor, nearest) => {
    const unet = { channelMultipliers: new Array(levels).fill(1) };
    expect(refused({ image: rgb(size), unet })).toBe(
      `image.size: expected a multiple of ${factor}, which ${levels} levels can halve (nearest: ${nearest}), got ${size} (number)`,
    );
    for (const near of nearest.split(' or ').map(Number)) {
      expect(resolveConfig({ image: rgb(near), unet }).image.height).toBe(near);
    }
  });

  test('both sides are told when neither halves', () => {
    expect(refused({ image: { height: 30, width: 42, channels: 3 } })).toBe(
      'image.height: expected a multiple of 8, which 4 levels can halve (nearest: 24 or 32), got 30 (number)\n' +
        'image.width: expected a multiple of 8, which 4 levels can halve (nearest: 40 or 48), got 42 (number)',
    );
  });

  test('one level needs no halving', () => {
    expect(resolveConfig({ image: rgb(7), unet: { channelMultipliers: [1] } }).image.height).toBe(7);
  });
});

describe('unet', () => {
  test('the default of attentionResolutions holds where a level has that height', () => {
    expect(resolveConfig({ image: rgb(64) }).unet.attentionResolutions).toEqual([16]);
    expect(resolveConfig({ image: rgb(8) }).unet.attentionResolutions).toEqual([]);
    expect(resolveConfig({ image: { height: 24, width: 16, channels: 3 } }).unet.attentionResolutions).toEqual([]);
  });

  test('a given attention resolution must be the height of a level', () => {
    expect(refused({ image: rgb(32), unet: { attentionResolutions: [16, 12] } })).toBe(
      'unet.attentionResolutions[1]: expected the height of a level (there are 32, 16, 8, 4), got 12 (number)',
    );
  });

  test('a multiplier must give whole channels, and a rounding error is none', () => {
    expect(refused({ image: rgb(32), unet: { channels: 96, channelMultipliers: [1, 1.3] } })).toBe(
      'unet.channelMultipliers[1]: expected a number that makes 96 channels times it a whole number from 1 to 65536, got 1.3 (number)',
    );
    expect(refused({ image: rgb(32), unet: { channels: 96, channelMultipliers: [1, 1000] } })).toMatch(
      /^unet\.channelMultipliers\[1\]: .*, got 1000 \(number\)$/,
    );
    // 98 × (1/98) and 98 × (3/98) are not whole in floating point.
    const unet = { channels: 98, channelMultipliers: [1, 1 / 98, 3 / 98, 1 / 49], normGroups: 1 };
    expect(resolveConfig({ image: rgb(32), unet }).unet.channelMultipliers).toEqual(unet.channelMultipliers);
  });

  test('level 0 has an even number of channels, for the sines and cosines of t', () => {
    expect(refused({ image: rgb(32), unet: { channels: 33, normGroups: 1 } })).toBe(
      'unet.channels: expected a number that makes the channels of level 0 even, got 33 (number)',
    );
    const unet = { channels: 33, channelMultipliers: [2, 1], normGroups: 1 };
    expect(resolveConfig({ image: rgb(32), unet }).unet.channels).toBe(33);
  });

  test('frequencyShift leaves something to divide by', () => {
    expect(refused({ image: rgb(32), unet: { channels: 4, normGroups: 1, frequencyShift: 2 } })).toBe(
      'unet.frequencyShift: expected a number below half the channels of level 0 (2), got 2 (number)',
    );
  });

  test('normGroups divides the channels of every level', () => {
    expect(refused({ image: rgb(32), unet: { channels: 48 } })).toBe(
      'unet.normGroups: expected a divisor of the channels of every level (48, 96), such as 24, got 32 (number)',
    );
    expect(resolveConfig({ image: rgb(32), unet: { channels: 48, normGroups: 24 } }).unet.normGroups).toBe(24);
  });

  test('attentionHeadChannels divides the channels where there is attention, the middle block included', () => {
    const unet = { channels: 64, channelMultipliers: [1, 2, 3], attentionResolutions: [16] };
    expect(refused({ image: rgb(32), unet: { ...unet, attentionHeadChannels: 128 } })).toBe(
      'unet.attentionHeadChannels: expected a divisor of the channels where there is attention (128, 192), such as 64, or null, got 128 (number)',
    );
    expect(
      refused({ image: rgb(32), unet: { ...unet, attentionResolutions: [], attentionHeadChannels: 128 } }),
    ).toMatch(/\(192\), such as 96, or null, got 128 \(number\)$/);
    expect(resolveConfig({ image: rgb(32), unet: { ...unet, attentionHeadChannels: 64 } }).unet).toMatchObject({
      attentionHeadChannels: 64,
    });
  });
});

describe('diffusion', () => {
  const refusedDiffusion = (diffusion: DiffusionOptions) => refused({ image: rgb(32), diffusion });

  test('a given schedule has its own length', () => {
    const { diffusion } = resolveConfig({ image: rgb(32), diffusion: { betas: [0.1, 0.2, 0.3] } });
    expect(diffusion).toMatchObject({ timesteps: 3, betas: [0.1, 0.2, 0.3] });
    expect(refusedDiffusion({ betas: [0.1, 0.2, 0.3], timesteps: 1000 })).toBe(
      'diffusion.timesteps: expected 3 (the length of diffusion.betas) or no value, got 1000 (number)',
    );
  });

  test.each<[DiffusionOptions, string]>([
    [
      { betas: [0.1], betaEnd: 0.5 },
      'betaEnd: expected no value (diffusion.betas gives the schedule), got 0.5 (number)',
    ],
    [
      { betas: [0.1], betaSchedule: 'cosine' },
      "betaSchedule: expected no value (diffusion.betas gives the schedule), got 'cosine' (string)",
    ],
    [
      { betaSchedule: 'cosine', betaStart: 0.1 },
      "betaStart: expected no value (diffusion.betaSchedule 'cosine' does not use it), got 0.1 (number)",
    ],
  ])('an option that would change nothing is refused: %j', (diffusion, message) => {
    expect(refusedDiffusion(diffusion)).toBe(`diffusion.${message}`);
  });

  test('a learned variance is refused where only fixed ones work', () => {
    const learned = resolveConfig({ image: rgb(32), diffusion: { varianceType: 'learned_range' } });
    expect(() => requireFixedVariance(learned, 'training')).toThrow(
      "diffusion.varianceType: expected 'fixed_large' or 'fixed_small' (this version does not support training with a learned variance), got 'learned_range' (string)",
    );
    expect(() => requireFixedVariance(resolveConfig({ image: rgb(32) }), 'sampling')).not.toThrow();
  });
});
