import { nativeDiffusionOptions, nativeModelOptions, resolveConfig } from '../../lib/config';

test("the paper's model as the native side takes it", () => {
  const config = resolveConfig({ image: { height: 32, width: 64, channels: 3 }, device: 'cuda:1', seed: 5 });
  expect(nativeModelOptions(config)).toEqual({
    unet: {
      height: 32,
      width: 64,
      inChannels: 3,
      outChannels: 3,
      blockOutChannels: [128, 256, 256, 256],
      layersPerBlock: 2,
      attention: [false, true, false, false],
      attentionHeadChannels: 0,
      dropout: 0.1,
      normGroups: 32,
      normEpsilon: 1e-6,
      symmetricDownsamplePadding: false,
      flipSinToCos: false,
      frequencyShift: 1,
      classes: 0,
    },
    diffusion: {
      timesteps: 1000,
      betaSchedule: 'linear',
      betaStart: 1e-4,
      betaEnd: 0.02,
      betas: [],
      predictionType: 'epsilon',
      varianceType: 'fixed_large',
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
    device: 'cuda:1',
    precision: 'float32',
    seed: 5,
  });
});

test('every variant that a published network may have', () => {
  const config = resolveConfig({
    image: { size: 28, channels: 1 },
    unet: {
      channels: 48,
      channelMultipliers: [1, 1 / 3, 2 / 3],
      blocksPerLevel: 1,
      attentionResolutions: [7, 28],
      attentionHeadChannels: 8,
      dropout: 0,
      normGroups: 16,
      normEpsilon: 1e-5,
      classes: 10,
      downsamplePadding: 'symmetric',
      flipSinToCos: true,
      frequencyShift: 0,
    },
    diffusion: { varianceType: 'learned_range', betas: [0.25, 0.5], clipSample: false },
    optimizer: { gradientClip: null },
  });
  const native = nativeModelOptions(config);
  expect(native.unet).toEqual({
    height: 28,
    width: 28,
    inChannels: 1,
    outChannels: 2,
    blockOutChannels: [48, 16, 32],
    layersPerBlock: 1,
    attention: [true, false, true],
    attentionHeadChannels: 8,
    dropout: 0,
    normGroups: 16,
    normEpsilon: 1e-5,
    symmetricDownsamplePadding: true,
    flipSinToCos: true,
    frequencyShift: 0,
    classes: 10,
  });
  expect(native.diffusion).toMatchObject({ timesteps: 2, betas: [0.25, 0.5], varianceType: 'learned_range' });
  expect(native.diffusion).toEqual(nativeDiffusionOptions(config));
  expect(native.optimizer.gradientClip).toBe(0);
});
