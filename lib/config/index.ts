export { type HubSource, resolveHubOptions } from './hub';
export { labelsOf } from './labels';
export { alternatives, configError, describeValue, invalidLine, invalidOption } from './messages';
export { resolveConfig } from './model';
export { nativeDiffusionOptions, nativeModelOptions } from './native';
export { presets } from './presets';
export { type ResolvedSampleOptions, resolveSampleOptions, timestepSpacings } from './sample';
export {
  resolveLoadOptions,
  resolveParametersOptions,
  resolveResumeOptions,
  resolveSaveCheckpointOptions,
  resolveSaveOptions,
} from './storage';
export {
  type ResolvedCheckpointOptions,
  type ResolvedTrainOptions,
  resolveDiffusionStepOptions,
  resolvePredictOptions,
  resolveTrainOptions,
  resolveTrainStepOptions,
} from './train';
export type {
  CheckpointDue,
  CheckpointOptions,
  ClassLabels,
  DdpmConfig,
  Device,
  DiffusionOptions,
  DiffusionStepOptions,
  EmaOptions,
  HubOptions,
  HubProgress,
  ImageOptions,
  ImageShape,
  LoadOptions,
  OptimizerOptions,
  ParametersOptions,
  Precision,
  PredictOptions,
  RectangularImageOptions,
  ResolvedConfig,
  ResumeOptions,
  SampleOptions,
  SampleProgress,
  SaveCheckpointOptions,
  SavedCheckpoint,
  SaveOptions,
  SquareImageOptions,
  TrainOptions,
  TrainProgress,
  TrainStepOptions,
  UNetOptions,
} from './types';
export { requireFixedVariance } from './variance';
