/** Options of training, and of the calls beside it that go through the network once. */
import type { NativePredictOptions, NativeTrainStepOptions } from '../binding';
import { imagesOf, type TensorLike, type Timesteps, timestepsOf } from '../tensor';
import { checkpointDefaults, predictDefaults, trainDefaults, trainStepDefaults } from './defaults';
import { directorySchema } from './fields';
import { labelsOf } from './labels';
import { invalidOption } from './messages';
import {
  abortSignal,
  callback,
  choice,
  type Fields,
  flag,
  integer,
  later,
  options,
  optionsWith,
  parseOptions,
  withDefaults,
} from './schema';
import type {
  CheckpointOptions,
  ClassLabels,
  DiffusionStepOptions,
  PredictOptions,
  ResolvedConfig,
  TrainOptions,
  TrainProgress,
  TrainStepOptions,
} from './types';

const MAX_BATCH = 65536;

const checkpointSchema = optionsWith({ directory: directorySchema }, {
  every: integer(1),
  keep: integer(1),
  metric: callback<NonNullable<CheckpointOptions['metric']>>(),
  onSave: callback<NonNullable<CheckpointOptions['onSave']>>(),
  onError: callback<NonNullable<CheckpointOptions['onError']>>(),
} satisfies Fields<Omit<CheckpointOptions, 'directory'>>);

const trainSchema = optionsWith({ steps: integer(1) }, {
  batchSize: integer(1, MAX_BATCH),
  horizontalFlip: flag(),
  gradientAccumulation: integer(1, MAX_BATCH),
  gradientCheckpointing: flag(),
  progressEvery: integer(1),
  maxNonFinite: integer(1),
  checkpoint: checkpointSchema,
  datasetChange: choice(['refuse', 'accept']),
  onProgress: callback<(progress: TrainProgress) => void>(),
  signal: abortSignal(),
} satisfies Fields<Omit<TrainOptions, 'steps'>>);

const trainStepSchema = options({
  x0: later<TensorLike>(),
  t: later<Timesteps>(),
  noise: later<TensorLike>(),
  classLabels: later<ClassLabels>(),
  gradientAccumulation: integer(1, MAX_BATCH),
} satisfies Fields<TrainStepOptions>);

const predictSchema = options({
  weights: choice(['ema', 'raw']),
  classLabels: later<ClassLabels>(),
} satisfies Fields<PredictOptions>);

const diffusionStepSchema = options({ noise: later<TensorLike>() } satisfies Fields<DiffusionStepOptions>);

/** Options of `train()` with every default in place. */
export type ResolvedTrainOptions = Required<Omit<TrainOptions, 'checkpoint' | 'onProgress' | 'signal'>> &
  Pick<TrainOptions, 'onProgress' | 'signal'> & { checkpoint?: ResolvedCheckpointOptions };

/** Options of checkpoints in the course of a training with every default in place. */
export type ResolvedCheckpointOptions = CheckpointOptions & Required<Pick<CheckpointOptions, 'every' | 'keep'>>;

/**
 * @param datasetCount Images of the data set: where no batch size is given, it is no more than this.
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveTrainOptions(given: TrainOptions | undefined, datasetCount = Infinity): ResolvedTrainOptions {
  const parsed = parseOptions(trainSchema, given === undefined ? {} : given, 'options');
  const { steps, checkpoint, onProgress, signal, ...rest } = parsed;
  const fitting = { ...trainDefaults, batchSize: Math.min(trainDefaults.batchSize, datasetCount) };
  return {
    steps,
    checkpoint: checkpoint && { directory: checkpoint.directory, ...withDefaults(checkpoint, checkpointDefaults) },
    onProgress,
    signal,
    ...withDefaults(rest, fitting),
  };
}

/**
 * Values of one optimizer step, checked against the model.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveTrainStepOptions(
  given: TrainStepOptions | undefined,
  config: ResolvedConfig,
): NativeTrainStepOptions {
  const { x0, t, noise, classLabels, ...rest } = parseOptions(
    trainStepSchema,
    given === undefined ? {} : given,
    'options',
  );
  const { gradientAccumulation } = withDefaults(rest, trainStepDefaults);
  const images = imagesOf('x0', x0, config.image);
  if (images.count % gradientAccumulation !== 0) {
    const expected = `a divisor of the number of images (${images.count})`;
    throw invalidOption('gradientAccumulation', expected, gradientAccumulation);
  }
  return {
    x0: images.data,
    t: timestepsOf(t, images.count, config.diffusion.timesteps),
    noise: imagesOf('noise', noise, config.image, images.count).data,
    labels: labelsOf(classLabels, images.count, config),
    gradientAccumulation,
  };
}

/**
 * Arguments of `predictNoise(x, t, options)`, checked against the model.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolvePredictOptions(
  x: TensorLike,
  t: Timesteps,
  given: PredictOptions | undefined,
  config: ResolvedConfig,
): NativePredictOptions {
  const { classLabels, ...rest } = parseOptions(predictSchema, given === undefined ? {} : given, 'options');
  const images = imagesOf('x', x, config.image);
  return {
    x: images.data,
    t: timestepsOf(t, images.count, config.diffusion.timesteps),
    labels: labelsOf(classLabels, images.count, config),
    ...withDefaults(rest, predictDefaults),
  };
}

/**
 * The noise of `diffusion.step(modelOutput, t, xt, options)` for n images; undefined for none.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveDiffusionStepOptions(
  given: DiffusionStepOptions | undefined,
  n: number,
  config: ResolvedConfig,
): { noise: Float32Array | undefined } {
  const { noise } = parseOptions(diffusionStepSchema, given === undefined ? {} : given, 'options');
  return { noise: noise === undefined ? undefined : imagesOf('noise', noise, config.image, n).data };
}
