/**
 * The one place of defaults. The model's are the paper's CIFAR-10 model (Ho, Jain, Abbeel 2020, Appendix B, and its
 * published code); `betaSchedule` to `clipSample` hold for all of the paper's models.
 */
import { deepFreeze } from './freeze';
import type {
  CheckpointOptions,
  DdpmConfig,
  DiffusionOptions,
  EmaOptions,
  HubOptions,
  OptimizerOptions,
  ParametersOptions,
  PredictOptions,
  SampleOptions,
  SaveOptions,
  TrainOptions,
  TrainStepOptions,
  UNetOptions,
} from './types';

export const unetDefaults: Required<UNetOptions> = deepFreeze({
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
});

export const diffusionDefaults: Required<DiffusionOptions> = deepFreeze({
  timesteps: 1000,
  betaSchedule: 'linear',
  betaStart: 1e-4,
  betaEnd: 0.02,
  betas: null,
  predictionType: 'epsilon',
  varianceType: 'fixed_large',
  loss: 'simple',
  clipSample: true,
});

export const optimizerDefaults: Required<OptimizerOptions> = deepFreeze({
  learningRate: 2e-4,
  warmupSteps: 5000,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  gradientClip: 1,
});

export const emaDefaults: Required<EmaOptions> = deepFreeze({ decay: 0.9999, warmup: true });

export const modelDefaults: Required<Pick<DdpmConfig, 'device' | 'precision' | 'seed'>> = deepFreeze({
  device: 'auto',
  precision: 'auto',
  seed: 0,
});

export const trainDefaults: Required<Omit<TrainOptions, 'steps' | 'checkpoint' | 'onProgress' | 'signal'>> = deepFreeze(
  {
    batchSize: 128,
    horizontalFlip: false,
    gradientAccumulation: 1,
    gradientCheckpointing: false,
    progressEvery: 1,
    maxNonFinite: 10,
    datasetChange: 'refuse',
  },
);

export const checkpointDefaults: Required<Pick<CheckpointOptions, 'every' | 'keep'>> = deepFreeze({
  every: 1000,
  keep: 3,
});

export const trainStepDefaults: Required<Pick<TrainStepOptions, 'gradientAccumulation'>> = deepFreeze({
  gradientAccumulation: 1,
});

export const parametersDefaults: Required<ParametersOptions> = deepFreeze({ weights: 'ema' });

export const hubDefaults: Required<Pick<HubOptions, 'revision'>> = deepFreeze({ revision: 'main' });
export const saveDefaults: Required<Pick<SaveOptions, 'rawWeights'>> = deepFreeze({ rawWeights: false });

export const predictDefaults: Required<Pick<PredictOptions, 'weights'>> = deepFreeze({ weights: 'ema' });

export const sampleDefaults: Required<
  Pick<SampleOptions, 'sampler' | 'eta' | 'timestepSpacing' | 'batchSize' | 'weights' | 'output'>
> = deepFreeze({
  sampler: 'ddpm',
  eta: 0,
  timestepSpacing: 'trailing',
  batchSize: 16,
  weights: 'ema',
  output: 'uint8',
});

/** Steps of a sampler on a chain of `timesteps`, where none are given. */
export const defaultSteps: Record<Required<SampleOptions>['sampler'], (timesteps: number) => number> = {
  ddpm: (timesteps) => timesteps,
  ddim: (timesteps) => Math.min(50, timesteps),
};
