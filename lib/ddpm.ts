import { type NativeModel, type NativeWeightSet, native } from './binding';
import {
  checkState,
  fromNewest,
  loadState,
  loadWeights,
  matchParameters,
  modelChanges,
  PeriodicCheckpoints,
  readModelFolder,
  saveModelFolder,
  type TrainingRecord,
  trainingChanges,
  writeCheckpoint,
} from './checkpoint';
import { pacer } from './concurrency';
import {
  type DdpmConfig,
  type DiffusionOptions,
  type HubOptions,
  type LoadOptions,
  nativeModelOptions,
  type ParametersOptions,
  type PredictOptions,
  type ResolvedConfig,
  type ResumeOptions,
  requireFixedVariance,
  resolveConfig,
  resolveHubOptions,
  resolveLoadOptions,
  resolveParametersOptions,
  resolvePredictOptions,
  resolveResumeOptions,
  resolveSampleOptions,
  resolveSaveCheckpointOptions,
  resolveSaveOptions,
  resolveTrainOptions,
  resolveTrainStepOptions,
  type SampleOptions,
  type SaveCheckpointOptions,
  type SavedCheckpoint,
  type SaveOptions,
  type TrainOptions,
  type TrainStepOptions,
} from './config';
import { type Dataset, pixelsOf } from './datasets';
import { fingerprintOf } from './datasets/fingerprint';
import { tellOfFallback } from './device';
import { Diffusion } from './diffusion';
import { AbortError, DdpmError, throwIfAborted } from './errors';
import { downloadModel } from './hub';
import { Images } from './images';
import { callNative, errorOf, runNative } from './operation';
import type { Tensor, TensorLike, Timesteps } from './tensor';
import { tellOfSignal } from './terminalSignal';
import { warn } from './warn';

/** How many weights are copied before other work may get its turn. */
const VALUES_A_COPY = 2 ** 18;

/** How a training ended. */
export interface TrainResult {
  /** Updates made since the model's first. */
  step: number;
  /** Mean loss of the steps since the last report of progress before the end; NaN when there was nothing to do. */
  loss: number;
  /** Updates left out since the model's first, because a loss or a gradient was not finite. */
  skippedSteps: number;
  /** How long it took. */
  seconds: number;
  /** The folder of the checkpoint that was saved last by this call; undefined where there is none. */
  checkpoint?: string;
  /** Checkpoints that this call was to save and could not: 0 where all is well, or none was asked for. */
  failedCheckpoints: number;
  /** Why the checkpoint that was due last could not be saved; undefined where it was, and where none was asked for. */
  checkpointError?: Error;
}

/** What one optimizer step reports. */
export interface TrainStepResult {
  /** Mean loss over the images. */
  loss: number;
  /** Global norm of the gradient before clipping. */
  gradientNorm: number;
  /** Learning rate of the step. */
  learningRate: number;
}

/**
 * A denoising diffusion probabilistic model (Ho, Jain, Abbeel 2020): network, optimizer and moving average of the
 * weights, with a thread of its own for all work on them. Every method may be called in every state; after
 * {@link dispose} each rejects with `ERR_DISPOSED`.
 */
export class Ddpm {
  /** The configuration with every option present; frozen. */
  readonly config: ResolvedConfig;
  /** The mathematics of the diffusion process, for loops of one's own. */
  readonly diffusion: Diffusion;
  /** How many numbers the network learns. */
  readonly parameterCount: number;

  readonly #native: NativeModel;
  readonly #parameters: { name: string; shape: number[] }[];
  /** What the last `train()` was asked for; the next one of a resumed model is held against it. */
  #training: Promise<TrainingRecord> | undefined;
  #resumed = false;
  #disposed: Promise<void> | undefined;

  /**
   * A new model with initial weights drawn from `config.seed`.
   *
   * @throws {DdpmError} `ERR_CONFIG`: an option is unknown, of the wrong type, out of range, or does not go with another;
   *   `ERR_NATIVE_UNAVAILABLE`.
   */
  constructor(config: DdpmConfig) {
    this.config = resolveConfig(config);
    const addon = native();
    this.#native = callNative(() => new addon.Model(nativeModelOptions(this.config)));
    tellOfFallback(addon, this.config.device);
    this.diffusion = new Diffusion(this.config);
    tellOfSignal(this.diffusion.schedule('sqrt_alphas_cumprod'));
    this.#parameters = this.#native.parameters();
    this.parameterCount = this.#parameters.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
  }

  /**
   * A saved model: a folder in one of diffusers' layouts, saved here or in Python. All settings come from its files; the
   * optimizer starts afresh.
   *
   * @param directory The folder that holds `model_index.json`, or a network's own, with `config.json`.
   * @param options Which weights to take, and what to set otherwise: `diffusion`, `device`, `precision`, `optimizer`, `ema`,
   *   `seed`.
   * @throws {DdpmError} `ERR_CHECKPOINT`: the folder is missing, damaged, or holds what is not supported (all of it is
   *   listed); `ERR_CONFIG`: a wrong option; `ERR_IO`. {@link AbortError} when the signal fires.
   */
  static async load(directory: string, options?: LoadOptions): Promise<Ddpm> {
    const { signal, variant, ...overrides } = resolveLoadOptions(directory, options);
    throwIfAborted(signal);
    const { diffusion } = overrides;
    const { config, weights, rawWeights, averaged } = await readModelFolder(directory, { variant, diffusion });
    try {
      const settings = checkedFolderConfig(directory, config, overrides);
      // Before the network is made: the settings may be those of one that no memory would hold.
      matchParameters(parametersOf(settings), weights);
      const ddpm = new Ddpm(settings);
      try {
        await loadWeights(weights, ddpm.#native, { raw: rawWeights, averaged, signal });
      } catch (error) {
        void ddpm.dispose();
        throw ownError(error, signal);
      }
      return ddpm;
    } finally {
      await weights.close();
      await rawWeights?.close();
    }
  }

  /**
   * The model of a checkpoint, to go on training as if it had never stopped: `train()` is called like the first time, and
   * on the same machine and build gives the same weights, bit for bit. The newest whole checkpoint of the folder is taken;
   * for each damaged one before it a warning (`DDPM_CHECKPOINT_DAMAGED`) names the file. Settings that are not as they
   * were are told of in a warning too (`DDPM_RESUME_CHANGED`).
   *
   * @param directory The folder that checkpoints are kept in, or one of them.
   * @param options What to set otherwise: `device`, `precision`, `optimizer`, `ema`; and `ifNone`, the configuration of a new
   *   model where there is no checkpoint yet.
   * @throws {DdpmError} `ERR_CHECKPOINT`: there is no checkpoint, or none is whole (all that is wrong is listed);
   *   `ERR_CONFIG`: a wrong option; `ERR_IO`. {@link AbortError} when the signal fires.
   */
  static async resume(directory: string, options?: ResumeOptions): Promise<Ddpm> {
    const { signal, ifNone, ...overrides } = resolveResumeOptions(directory, options);
    throwIfAborted(signal);
    const resumed = await fromNewest(
      directory,
      async (checkpoint) => {
        const { config, training } = checkpoint.manifest;
        await checkState(checkpoint, parametersOf(config));
        const ddpm = new Ddpm(withOverrides(config, overrides));
        try {
          await loadState(checkpoint, ddpm.#native, signal);
        } catch (error) {
          void ddpm.dispose();
          throw ownError(error, signal);
        }
        if (training) ddpm.#training = Promise.resolve(training);
        ddpm.#resumed = training !== null;
        tellChanges(
          `${checkpoint.folder}: goes on with other settings`,
          modelChanges(checkpoint.manifest, ddpm.config),
        );
        return ddpm;
      },
      signal,
    );
    if (resumed) return resumed;
    if (ifNone) return new Ddpm(withOverrides(ifNone, overrides));
    throw new DdpmError('ERR_CHECKPOINT', `${directory}: there is no checkpoint in it`);
  }

  /**
   * A model from Hugging Face's hub, or a mirror of it. The files that it needs are fetched into a cache and checked
   * against the hub's checksums; a download that broke off, or whose process ended, is continued by the next call.
   *
   * @param repository As on the hub: 'google/ddpm-cifar10-32'.
   * @param options Where to look, and those of {@link load}.
   * @throws {DdpmError} `ERR_HUB`: there is no such repository or revision, no access, or the contents are not what the hub
   *   lists; `ERR_NETWORK`: the hub cannot be reached and the revision is not in the cache, or the transfer broke off
   *   several times in a row; `ERR_CONFIG`; `ERR_IO`; `ERR_CHECKPOINT`. {@link AbortError} when the signal fires.
   */
  static async fromHub(repository: string, options?: HubOptions): Promise<Ddpm> {
    const { source, load } = resolveHubOptions(repository, options);
    return Ddpm.load(await downloadModel(source, load.variant), load);
  }

  /** The device in use: 'cpu', 'cuda:N' or 'mps:0'. */
  get device(): string {
    return this.#native.device;
  }

  /** Optimizer updates since the model's first. */
  get step(): number {
    return this.#native.step;
  }

  /**
   * Trains (Algorithm 1) until {@link step} is `options.steps`, on a thread of its own. Sampling, prediction and saving
   * are served between two steps meanwhile, and change nothing in the training.
   *
   * With `checkpoint`, the state of training is saved as it goes and at the end, while training does not wait for the disk.
   * A resumed model's first training is held against what it was asked for before: other images are refused unless
   * `datasetChange` accepts them, and other options are told of in a warning.
   *
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_DATASET`: the images or labels do not fit the model, or are not those of the
   *   checkpoint; `ERR_BUSY`: a training of this model is under way; `ERR_NON_FINITE`: `maxNonFinite` losses or gradients
   *   in a row were not finite (the weights are those of the last good step; the message names the step, the timesteps and,
   *   where one image is at fault, that image); `ERR_OUT_OF_MEMORY`; `ERR_DISPOSED`. {@link AbortError} within one step of
   *   the signal.
   */
  async train(dataset: Dataset, options: TrainOptions): Promise<TrainResult> {
    this.#requireAlive();
    const pixels = pixelsOf(dataset);
    const { signal, onProgress, checkpoint, datasetChange, ...resolved } = resolveTrainOptions(options, dataset.count);
    requireFixedVariance(this.config, 'training');
    const labels = this.#labelsFor(dataset);
    const training = this.#recordOf(dataset, resolved);
    training.catch(() => {}); // whoever needs it hears of it
    const before = this.#training;
    if (this.#resumed) await this.#checkResumed(await training, datasetChange);
    const result = await runNative(
      this.train,
      (watch) => {
        const checkpoints =
          checkpoint &&
          new PeriodicCheckpoints(
            { ...checkpoint, onSave: watch(checkpoint.onSave), onError: watch(checkpoint.onError) },
            { config: this.config, parameters: this.#parameters, model: this.#native, training, signal },
          );
        const report = watch(onProgress);
        const operation = this.#native.train({
          ...resolved,
          dataset: pixels,
          labels,
          checkpointEvery: checkpoint?.every ?? 0,
          onCheckpoint: checkpoints && ((state) => checkpoints.save(state)),
          onProgress: (progress) => {
            if (checkpoints) checkpoints.loss = progress.loss;
            report?.(progress);
          },
        });
        this.#training = training;
        return checkpoints ? checkpoints.around(operation) : operation;
      },
      signal,
    ).catch((error: unknown) => {
      if (error instanceof DdpmError && error.code === 'ERR_BUSY') this.#training = before;
      throw namingFile(error, dataset);
    });
    return { failedCheckpoints: 0, ...result };
  }

  /**
   * One optimizer step on given images, timesteps and noise, for loops of one's own.
   *
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_BUSY`: `train()` is under way; `ERR_NON_FINITE`: the loss or the gradient is
   *   not finite (weights, moments and average are as before; the step counts); `ERR_OUT_OF_MEMORY`; `ERR_DISPOSED`.
   */
  async trainStep(options: TrainStepOptions): Promise<TrainStepResult> {
    this.#requireAlive();
    const resolved = resolveTrainStepOptions(options, this.config);
    requireFixedVariance(this.config, 'training');
    return runNative(this.trainStep, () => this.#native.trainStep(resolved));
  }

  /**
   * Draws images: Algorithm 2, or DDIM in fewer steps. Calls that overlap are served together. Image i depends on the
   * seed and on i alone, whatever `n`, `batchSize` and the other calls in flight are. A call keeps to the weights as they
   * were when it began, also while training goes on.
   *
   * @param n How many.
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_NON_FINITE`: the network gave NaN or infinite values; `ERR_OUT_OF_MEMORY`;
   *   `ERR_DISPOSED`. {@link AbortError} within one step of the signal.
   */
  async sample(n: number, options?: SampleOptions): Promise<Images> {
    this.#requireAlive();
    const { signal, onProgress, ...resolved } = resolveSampleOptions(n, options, this.config);
    requireFixedVariance(this.config, 'sampling');
    const { data } = await runNative(
      this.sample,
      (watch) => this.#native.sample({ ...resolved, onProgress: watch(onProgress) }),
      signal,
    );
    return new Images({ data, count: n, ...this.config.image, seed: resolved.seed });
  }

  /**
   * The network's raw output for noisy images: ε̂, [n, C, H, W]; with `varianceType: 'learned_range'` followed by as many
   * channels for the variance.
   *
   * @param x Noisy images, [n, C, H, W].
   * @param t Timestep of each, or one for all; 0 ≤ t < T.
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_OUT_OF_MEMORY`; `ERR_DISPOSED`.
   */
  async predictNoise(x: TensorLike, t: Timesteps, options?: PredictOptions): Promise<Tensor> {
    this.#requireAlive();
    const resolved = resolvePredictOptions(x, t, options, this.config);
    const data = await runNative(this.predictNoise, () => this.#native.predict(resolved));
    const { height, width } = this.config.image;
    const count = resolved.t.length;
    return { data, shape: [count, data.length / (count * height * width), height, width] };
  }

  /**
   * Copies of all parameters by their names in the state dict: the moving average, the weights as trained last, or the
   * gradient of the last step after clipping.
   *
   * @throws {DdpmError} `ERR_CONFIG`: a gradient was asked for before any step; `ERR_OUT_OF_MEMORY`; `ERR_DISPOSED`.
   */
  async parameters(options?: ParametersOptions): Promise<Map<string, Tensor>> {
    this.#requireAlive();
    const { weights } = resolveParametersOptions(options);
    const exported = await runNative(this.parameters, () => this.#native.exportWeights([weights]));
    const [values] = exported.weights;
    const copies = new Map<string, Tensor>();
    const pause = pacer();
    for (const { name, shape } of this.#parameters) {
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      for (let offset = 0; offset < data.length; offset += VALUES_A_COPY) {
        data.set(values.read(name, offset, Math.min(VALUES_A_COPY, data.length - offset)), offset);
        await pause();
      }
      copies.set(name, { data, shape: [...shape] });
    }
    return copies;
  }

  /**
   * Saves the moving average in diffusers' layout: `DDPMPipeline.from_pretrained(directory)` reads it in Python, and
   * {@link load} here. With `rawWeights`, the weights as trained last are beside it, as a variant. An older
   * model in the folder is replaced whole or stays as it is, and both need room for a time.
   *
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_IO`, with the system's reason; `ERR_NON_FINITE`: a weight is NaN or infinite;
   *   `ERR_DISPOSED`. {@link AbortError} when the signal fires.
   */
  async save(directory: string, options?: SaveOptions): Promise<void> {
    this.#requireAlive();
    const { signal, rawWeights } = resolveSaveOptions(directory, options);
    const sets: NativeWeightSet[] = rawWeights ? ['ema', 'raw'] : ['ema'];
    const { step, averaged, weights } = await runNative(this.save, () => this.#native.exportWeights(sets), signal);
    const [average, raw] = weights;
    const model = {
      config: this.config,
      parameters: this.#parameters,
      weights: average,
      rawWeights: raw,
      step,
      averaged,
    };
    await saveModelFolder(directory, model, { signal });
  }

  /**
   * Saves all that training needs to go on, for {@link resume}, as a folder of its own in `directory`: both sets of weights,
   * Adam's moments, the step and the position in the data order, and the configuration. That folder is a saved model too,
   * for {@link load} and for diffusers. While `train()` runs, the state is that between two of its steps, and training goes
   * on while it is written.
   *
   * @throws {DdpmError} `ERR_CONFIG`; `ERR_IO`, with the system's reason: no room, say; `ERR_NON_FINITE`: a weight is NaN or
   *   infinite; `ERR_OUT_OF_MEMORY`; `ERR_DISPOSED`. {@link AbortError}. In each case the folder is as before.
   */
  async saveCheckpoint(directory: string, options?: SaveCheckpointOptions): Promise<SavedCheckpoint> {
    this.#requireAlive();
    const { keep, metric = null, signal } = resolveSaveCheckpointOptions(directory, options);
    const state = await runNative(this.saveCheckpoint, () => this.#native.exportState(), signal);
    try {
      const training = (await this.#training) ?? null;
      const contents = { config: this.config, parameters: this.#parameters, state, training, metric };
      return await writeCheckpoint(directory, contents, { keep, signal });
    } finally {
      state.release();
    }
  }

  /**
   * Takes no more work, and gives the memory back when what is under way has ended: that is when the promise resolves.
   * May be called again.
   */
  dispose(): Promise<void> {
    this.#disposed ??= this.#native.dispose();
    return this.#disposed;
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    void this.dispose();
  }

  /** {@link dispose}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #requireAlive(): void {
    if (this.#disposed) throw new DdpmError('ERR_DISPOSED', 'This model was disposed of: make or load another');
  }

  /** What a training is asked for, as a checkpoint records it. */
  async #recordOf(dataset: Dataset, options: Omit<TrainingRecord, 'dataset'>): Promise<TrainingRecord> {
    const { steps, batchSize, gradientAccumulation, horizontalFlip } = options;
    return { steps, batchSize, gradientAccumulation, horizontalFlip, dataset: await fingerprintOf(dataset) };
  }

  /** Holds the first training of a resumed model against the one before. */
  async #checkResumed(training: TrainingRecord, datasetChange: 'refuse' | 'accept'): Promise<void> {
    const before = await this.#training;
    if (before) tellChanges('Training goes on with other settings', trainingChanges(before, training, datasetChange));
    this.#resumed = false;
  }

  /** Checks that a data set fits this model; gives the labels that the network is to be told. */
  #labelsFor(dataset: Dataset): Int32Array | undefined {
    const { height, width, channels } = this.config.image;
    if (dataset.height !== height || dataset.width !== width || dataset.channels !== channels) {
      const found = `${dataset.height}×${dataset.width}×${dataset.channels}`;
      throw new DdpmError(
        'ERR_DATASET',
        `dataset: expected images of ${height}×${width}×${channels} (height × width × channels, as config.image), got ${found}`,
      );
    }
    const { classes } = this.config.unet;
    if (classes === 0) return undefined;
    if (dataset.labels === undefined) {
      throw new DdpmError(
        'ERR_DATASET',
        `dataset: expected a class label for each image (unet.classes is ${classes}), got none`,
      );
    }
    const wrong = dataset.labels.findIndex((label) => label < 0 || label >= classes);
    if (wrong >= 0) {
      throw new DdpmError(
        'ERR_DATASET',
        `dataset.labels[${wrong}]: expected 0 to ${classes - 1} (unet.classes is ${classes}), got ${dataset.labels[wrong]}`,
      );
    }
    return dataset.labels;
  }
}

/** What the network of a configuration would learn: name and shape of each parameter. */
function parametersOf(config: DdpmConfig): { name: string; shape: number[] }[] {
  return native().unetParameters(nativeModelOptions(resolveConfig(config)).unet);
}

/** A folder's configuration with the caller's changes; what is wrong in the folder is the folder's fault. */
function checkedFolderConfig(directory: string, config: DdpmConfig, overrides: Partial<DdpmConfig>): DdpmConfig {
  try {
    resolveConfig(config);
  } catch (error) {
    if (!(error instanceof DdpmError)) throw error;
    throw new DdpmError('ERR_CHECKPOINT', `${directory}: ${error.message}`, { cause: error });
  }
  return withOverrides(config, overrides);
}

function withOverrides(config: DdpmConfig, overrides: Partial<DdpmConfig>): DdpmConfig {
  return {
    ...config,
    ...overrides,
    diffusion: { ...keptSchedule(config.diffusion, overrides.diffusion), ...overrides.diffusion },
    optimizer: { ...config.optimizer, ...overrides.optimizer },
    ema: { ...config.ema, ...overrides.ema },
  };
}

/** What went wrong while weights were loaded, as this package's own error. */
function ownError(error: unknown, signal: AbortSignal | undefined): Error {
  return error instanceof DdpmError || error instanceof AbortError ? error : errorOf(error, signal);
}

function tellChanges(what: string, changes: readonly string[]): void {
  if (changes.length > 0) warn('DDPM_RESUME_CHANGED', [`${what}:`, ...changes].join('\n  '));
}

/** The native side knows images by their number; says which file it is, where the images are files. */
function namingFile(error: unknown, dataset: Dataset): unknown {
  if (!(error instanceof DdpmError)) return error;
  const { image } = Object(error.cause) as { image?: number };
  if (image === undefined || dataset.sources === undefined) return error;
  const message = `${error.message}. Image ${image} of the data set is ${dataset.sources[image]}`;
  const named = new DdpmError(error.code, message, { cause: error.cause });
  named.stack = error.stack?.replace(error.message, message);
  return named;
}

/** A folder's options of the diffusion process, less the parts of its schedule that another schedule does not use. */
function keptSchedule(folder: DiffusionOptions = {}, given: DiffusionOptions = {}): DiffusionOptions {
  const { betas, betaSchedule, betaStart, betaEnd, timesteps, ...others } = folder;
  if (given.betas) return others;
  if (given.betaSchedule === undefined) return folder;
  const kept = { ...others, timesteps };
  return given.betaSchedule === 'cosine' ? kept : { ...kept, betaStart, betaEnd };
}
