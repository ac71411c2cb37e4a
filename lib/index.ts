/** The public face of the package: exports only. */
export {
  type CheckpointDue,
  type CheckpointOptions,
  type ClassLabels,
  type DdpmConfig,
  type Device,
  type DiffusionOptions,
  type DiffusionStepOptions,
  type EmaOptions,
  type HubOptions,
  type HubProgress,
  type ImageOptions,
  type ImageShape,
  type LoadOptions,
  type OptimizerOptions,
  type ParametersOptions,
  type Precision,
  type PredictOptions,
  presets,
  type RectangularImageOptions,
  type ResolvedConfig,
  type ResumeOptions,
  type SampleOptions,
  type SampleProgress,
  type SaveCheckpointOptions,
  type SavedCheckpoint,
  type SaveOptions,
  type SquareImageOptions,
  type TrainOptions,
  type TrainProgress,
  type TrainStepOptions,
  type UNetOptions,
} from './config';
export {
  type Cifar10Options,
  cifar10,
  Dataset,
  type DatasetImage,
  type FromPixelsOptions,
  fromPixels,
  type ImageFolderOptions,
  type ImageFolderProgress,
  imageFolder,
  type MnistOptions,
  mnist,
  type Pixels,
  type SkippedFile,
} from './datasets';
export { Ddpm, type TrainResult, type TrainStepResult } from './ddpm';
export type { Diffusion, ScheduleQuantity } from './diffusion';
export { AbortError, DdpmError, type DdpmErrorCode } from './errors';
export { type GridOptions, Images, type ImagesContents } from './images';
export type { Tensor, TensorLike, Timesteps } from './tensor';
