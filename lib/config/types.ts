/**
 * The options of the package, as users write them and as they stand once resolved. Every default that a comment here
 * names is the one in `defaults.ts`; a test holds the two together.
 */
import type { TensorLike, Timesteps } from '../tensor';

/** A square image. */
export interface SquareImageOptions {
  /** Height and width in pixels, 1 to 8192; must halve exactly once for each level after the first. */
  size: number;
  /** 1 (grey) to 4; 3 is RGB. */
  channels: number;
}

/** An image of any height and width. */
export interface RectangularImageOptions {
  /** In pixels, 1 to 8192; must halve exactly once for each level after the first. */
  height: number;
  /** In pixels, 1 to 8192; must halve exactly once for each level after the first. */
  width: number;
  /** 1 (grey) to 4; 3 is RGB. */
  channels: number;
}

/** The images that a model draws. */
export type ImageOptions = SquareImageOptions | RectangularImageOptions;

/** Height and width in pixels, and colour channels. */
export interface ImageShape {
  height: number;
  width: number;
  channels: number;
}

/**
 * The U-Net (the paper's Appendix B). Level i works at 1/2^i of the image's height and width with
 * `channels × channelMultipliers[i]` channels. The first convolution and the time embedding have the width of level 0.
 */
export interface UNetOptions {
  /**
   * The unit of width: a level has this many channels times its multiplier. 1 to 8192; level 0 must come to an even number.
   * @defaultValue 128
   */
  channels?: number;
  /**
   * One positive number for each level, finest first (1 to 12 levels); each times `channels` must be a whole number, at most 65536.
   * @defaultValue [1, 2, 2, 2]
   */
  channelMultipliers?: readonly number[];
  /**
   * Residual blocks of a level on the way down, 1 to 64; there is one more on the way up.
   * @defaultValue 2
   */
  blocksPerLevel?: number;
  /**
   * Heights of the feature maps that get self-attention after each residual block. Each must be the height of a level.
   * Left out, it is 16 where a level has that height, and nowhere else; the middle block has attention always.
   * @defaultValue [16]
   */
  attentionResolutions?: readonly number[];
  /**
   * Channels of one attention head: a divisor of the channels of every level with attention and of the last; null for a single head.
   * @defaultValue null
   */
  attentionHeadChannels?: number | null;
  /**
   * Probability, 0 ≤ p < 1, of dropping an activation before the second convolution of a residual block, in training.
   * @defaultValue 0.1
   */
  dropout?: number;
  /**
   * Groups of every group normalization: a divisor of every level's channels.
   * @defaultValue 32
   */
  normGroups?: number;
  /**
   * Added to the variance in every group normalization; positive.
   * @defaultValue 0.000001
   */
  normEpsilon?: number;
  /**
   * Classes of the class embedding, 0 to 1000000; 0 for an unconditional model.
   * @defaultValue 0
   */
  classes?: number;
  /**
   * Padding of the strided convolution: one row below and one column to the right (the paper's), or one on all sides.
   * @defaultValue 'asymmetric'
   */
  downsamplePadding?: 'asymmetric' | 'symmetric';
  /**
   * Order of the two halves of the time embedding: false for [sin, cos] (the paper's), true for [cos, sin].
   * @defaultValue false
   */
  flipSinToCos?: boolean;
  /**
   * What is taken from half the embedding's width in the denominator of the exponent; at least 0, below that half. The paper's code: 1.
   * @defaultValue 1
   */
  frequencyShift?: number;
}

/** The forward process q and what the network predicts of it (the paper's sections 2 and 3). */
export interface DiffusionOptions {
  /**
   * T, the length of the chain, 1 to 1000000; the betas must leave ᾱ at 1e-76 or more (with the default ones T ≤ 17296).
   * With `betas` given it is their number, and need not be given.
   * @defaultValue 1000
   */
  timesteps?: number;
  /**
   * How β goes from `betaStart` to `betaEnd`: linearly; with its square root linear; or the cosine schedule of Nichol and
   * Dhariwal (2021), which uses neither.
   * @defaultValue 'linear'
   */
  betaSchedule?: 'linear' | 'scaled_linear' | 'cosine';
  /**
   * β at t = 0, between 0 and 1. Refused where nothing uses it (unless it is the default).
   * @defaultValue 0.0001
   */
  betaStart?: number;
  /**
   * β at t = T − 1, between 0 and 1. Refused where nothing uses it (unless it is the default).
   * @defaultValue 0.02
   */
  betaEnd?: number;
  /**
   * A schedule given value by value instead, each between 0 and 1; null for none.
   * @defaultValue null
   */
  betas?: readonly number[] | null;
  /**
   * What the network's output is: ε, the noise in x_t.
   * @defaultValue 'epsilon'
   */
  predictionType?: 'epsilon';
  /**
   * σ² of a reverse step: β_t ('fixed_large'), β̃_t ('fixed_small'), or between the two as the network says
   * ('learned_range': twice the output channels; such a network loads and predicts, but is neither trained nor sampled yet).
   * @defaultValue 'fixed_large'
   */
  varianceType?: 'fixed_large' | 'fixed_small' | 'learned_range';
  /**
   * The training objective: L_simple, the paper's equation 14.
   * @defaultValue 'simple'
   */
  loss?: 'simple';
  /**
   * Whether the x̂_0 of a reverse step is clipped to [−1, 1].
   * @defaultValue true
   */
  clipSample?: boolean;
}

/** Adam, its learning rate and the limit on the gradient. */
export interface OptimizerOptions {
  /**
   * Learning rate after the warm-up; positive.
   * @defaultValue 0.0002
   */
  learningRate?: number;
  /**
   * Updates over which the learning rate rises linearly from 0; 0 for no warm-up.
   * @defaultValue 5000
   */
  warmupSteps?: number;
  /**
   * Decay of Adam's first moment, 0 ≤ β < 1.
   * @defaultValue 0.9
   */
  beta1?: number;
  /**
   * Decay of Adam's second moment, 0 ≤ β < 1.
   * @defaultValue 0.999
   */
  beta2?: number;
  /**
   * Added to the denominator of Adam's update; positive.
   * @defaultValue 1e-8
   */
  epsilon?: number;
  /**
   * Weight decay; at least 0.
   * @defaultValue 0
   */
  weightDecay?: number;
  /**
   * Largest global norm of the gradient, positive; null for no limit.
   * @defaultValue 1
   */
  gradientClip?: number | null;
}

/** The exponential moving average of the weights, from which samples are drawn. */
export interface EmaOptions {
  /**
   * Share of the average that an update keeps, 0 ≤ d < 1.
   * @defaultValue 0.9999
   */
  decay?: number;
  /**
   * Whether an early update keeps less: min(decay, (1 + step) / (10 + step)), so that short runs sample well.
   * @defaultValue true
   */
  warmup?: boolean;
}

/**
 * 'auto' takes the first CUDA device where this build can use it (compute capability 8.0 or newer), else the CPU; 'cuda:N' is
 * the card number N. 'mps' is a Mac's GPU, by LibTorch's own operators.
 */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'mps';

/**
 * The numbers that the network computes with; its weights are float32 always. 'tf32' is for CUDA devices: float32, but for the
 * products of convolutions and dense layers, which round what they multiply to 10 bits of mantissa.
 */
export type Precision = 'float32' | 'tf32' | 'bfloat16';

/** The configuration of a model. Every group and option but `image` may be left out, and then has the paper's value for CIFAR-10. */
export interface DdpmConfig {
  /** Size and channels of the images. */
  image: ImageOptions;
  /** The network. */
  unet?: UNetOptions;
  /** The diffusion process. */
  diffusion?: DiffusionOptions;
  /** The optimizer. */
  optimizer?: OptimizerOptions;
  /** The moving average of the weights. */
  ema?: EmaOptions;
  /**
   * Where the model lives.
   * @defaultValue 'auto'
   */
  device?: Device;
  /**
   * The numbers that the network computes with; 'auto' is float32 in this version, 'tf32' is refused off CUDA devices.
   * @defaultValue 'auto'
   */
  precision?: Precision | 'auto';
  /**
   * Seed of the initial weights and of training, 0 to 2^53 − 1.
   * @defaultValue 0
   */
  seed?: number;
}

/** A configuration with every option present, deeply frozen. It is a {@link DdpmConfig} too, and resolves to itself. */
export interface ResolvedConfig {
  readonly image: Readonly<ImageShape>;
  /** `attentionResolutions` holds heights that levels have. */
  readonly unet: Readonly<Required<UNetOptions>>;
  readonly diffusion: Readonly<Required<DiffusionOptions>>;
  readonly optimizer: Readonly<Required<OptimizerOptions>>;
  readonly ema: Readonly<Required<EmaOptions>>;
  readonly device: Device;
  readonly precision: Precision;
  readonly seed: number;
}

/** Where training stands. */
export interface TrainProgress {
  /** Updates made since the model's first. */
  step: number;
  /** The step at which training ends. */
  totalSteps: number;
  /** Mean loss over the images of all updates since the last report. */
  loss: number;
  /** Learning rate of the update. */
  learningRate: number;
  /** Global norm of the gradient before clipping. */
  gradientNorm: number;
  /** Training images a second. */
  imagesPerSecond: number;
  /** Seconds to the end at the present speed. */
  etaSeconds: number;
  /** Updates left out since the model's first, because a loss or a gradient was not finite. */
  skippedSteps: number;
}

/** Where training stands when a checkpoint is due. */
export interface CheckpointDue {
  /** Updates made since the model's first, up to the state that is saved. */
  step: number;
  /** The loss that was reported last; NaN before the first report. */
  loss: number;
}

/** A checkpoint that was saved. */
export interface SavedCheckpoint {
  /** Its folder. */
  path: string;
  /** Updates made since the model's first, up to this state. */
  step: number;
  /** Size of its files. */
  bytes: number;
}

/** Checkpoints in the course of a training: what `train({ checkpoint })` takes. */
export interface CheckpointOptions {
  /** The folder to keep them in: each is a folder of its own there. */
  directory: string;
  /**
   * Steps from one checkpoint to the next; there is one more at the end. One that falls due while another is still being
   * written is made when that has ended.
   * @defaultValue 1000
   */
  every?: number;
  /**
   * How many to keep: older ones are removed after a new one is saved.
   * @defaultValue 3
   */
  keep?: number;
  /**
   * Judges a checkpoint, lower being better: the best one is kept beside the newest. A promise is waited for, and training
   * goes on meanwhile. Where it throws, rejects or gives no number, the checkpoint is saved without, and a warning is
   * emitted.
   */
  metric?: (at: CheckpointDue) => number | Promise<number>;
  /**
   * Called with each checkpoint that was saved. What it throws ends the training; a promise of it is waited for at the end,
   * and its rejection counts as a throw.
   */
  onSave?: (saved: SavedCheckpoint) => void;
  /**
   * Called when one could not be saved; training goes on. Left out, a warning is emitted. What it throws ends the training;
   * a promise of it is waited for at the end, and its rejection counts as a throw.
   */
  onError?: (error: Error) => void;
}

/** Options of `saveCheckpoint()`. */
export interface SaveCheckpointOptions {
  /** How many checkpoints to keep in the folder, this one included; left out, all. */
  keep?: number;
  /** A number that judges this checkpoint, lower being better: `keep` spares the best one. */
  metric?: number;
  /** Stops saving, with an AbortError; the folder is then as before. */
  signal?: AbortSignal;
}

/** Options of `Ddpm.resume()`: what to set otherwise than the checkpoint says. */
export interface ResumeOptions {
  /** Where the model lives. */
  device?: Device;
  /** The numbers that the network computes with. */
  precision?: Precision | 'auto';
  /** Options of the optimizer to change. */
  optimizer?: OptimizerOptions;
  /** Options of the moving average to change. */
  ema?: EmaOptions;
  /**
   * The configuration of a new model, where there is no checkpoint yet: no such folder, or none in it. One that is there but
   * damaged is still an error. Left out, there being none is an error too.
   */
  ifNone?: DdpmConfig;
  /** Stops loading, with an AbortError. */
  signal?: AbortSignal;
}

/** Options of `train()`. */
export interface TrainOptions {
  /** The step to reach, counted from the model's first update: a resumed training is called like the first one. */
  steps: number;
  /**
   * Images that go through the network at once, 1 to 65536. Left out, it is no more than the data set has.
   * @defaultValue 128
   */
  batchSize?: number;
  /**
   * Whether each image is mirrored left to right with probability one half.
   * @defaultValue false
   */
  horizontalFlip?: boolean;
  /**
   * Batches whose gradients make up one update, 1 to 65536: an update sees `batchSize × gradientAccumulation` images.
   * @defaultValue 1
   */
  gradientAccumulation?: number;
  /**
   * Whether only the inputs of the network's blocks are kept for the way back, and what lies within is computed a second
   * time (Chen et al. 2016): less memory, a third more arithmetic, the same gradients up to rounding.
   * @defaultValue false
   */
  gradientCheckpointing?: boolean;
  /**
   * Updates from one call of `onProgress` to the next.
   * @defaultValue 1
   */
  progressEvery?: number;
  /**
   * Updates in a row with a loss or a gradient that is not finite, after which training gives up with `ERR_NON_FINITE`.
   * @defaultValue 10
   */
  maxNonFinite?: number;
  /** Saves the state of training as it goes, for `Ddpm.resume()`. */
  checkpoint?: CheckpointOptions;
  /**
   * Whether a resumed training may go on with other images than it was trained on.
   * @defaultValue 'refuse'
   */
  datasetChange?: 'refuse' | 'accept';
  /**
   * Called with the state of training. What it throws ends the training and is the call's rejection; a promise of it is
   * waited for at the end, and its rejection counts as a throw.
   */
  onProgress?: (progress: TrainProgress) => void;
  /** Stops training within one step, with an AbortError. */
  signal?: AbortSignal;
}

/** One class for all images (a number), or one for each; 0 ≤ class < `unet.classes`. */
export type ClassLabels = number | readonly number[] | Int32Array;

/** Values of one optimizer step, for loops of one's own. */
export interface TrainStepOptions {
  /** Images in [−1, 1], [n, C, H, W]. */
  x0: TensorLike;
  /** Timestep of each image, 0 ≤ t < T. */
  t: Timesteps;
  /** The noise ε to add, [n, C, H, W]. */
  noise: TensorLike;
  /** Required by a model with classes, refused by one without. */
  classLabels?: ClassLabels;
  /**
   * Equal parts that the n images go through the network in, 1 to 65536; must divide n.
   * @defaultValue 1
   */
  gradientAccumulation?: number;
}

/** Options of `predictNoise()`. */
export interface PredictOptions {
  /**
   * The moving average of the weights, or the weights as trained last.
   * @defaultValue 'ema'
   */
  weights?: 'ema' | 'raw';
  /** Required by a model with classes, refused by one without. */
  classLabels?: ClassLabels;
}

/** Options of `diffusion.step()`. */
export interface DiffusionStepOptions {
  /** z of Algorithm 2, [n, C, H, W]; left out, the step adds no noise: prev is the posterior mean. */
  noise?: TensorLike;
}

/** Where sampling stands. */
export interface SampleProgress {
  /** Denoising steps done, counted over all images of the call. */
  step: number;
  /** Denoising steps in all: images times steps of each. */
  totalSteps: number;
}

/** Options of `sample()`. */
export interface SampleOptions {
  /**
   * Ancestral sampling (the paper's Algorithm 2), or DDIM (Song, Meng and Ermon 2020), which needs few steps.
   * @defaultValue 'ddpm'
   */
  sampler?: 'ddpm' | 'ddim';
  /** Network calls an image, 1 to the model's timesteps. Left out: all timesteps for 'ddpm', at most 50 for 'ddim'. */
  steps?: number;
  /**
   * DDIM's η, 0 (deterministic) to 1 (as random as 'ddpm'). Refused with 'ddpm', which has no such choice.
   * @defaultValue 0
   */
  eta?: number;
  /**
   * Which timesteps are visited when there are fewer than all: counted from the start, from the end, or spread over both.
   * @defaultValue 'trailing'
   */
  timestepSpacing?: 'leading' | 'trailing' | 'linspace';
  /** 0 to 2^53 − 1; the same seed gives the same pictures. Left out: a random one. */
  seed?: number;
  /**
   * Most images of this call that go through the network at once, 1 to 65536. Changes no picture.
   * @defaultValue 16
   */
  batchSize?: number;
  /**
   * The moving average of the weights, or the weights as trained last.
   * @defaultValue 'ema'
   */
  weights?: 'ema' | 'raw';
  /** x_T, [n, C, H, W], finite. Left out: drawn from the seed. */
  noise?: TensorLike;
  /** Required by a model with classes, refused by one without. */
  classLabels?: ClassLabels;
  /**
   * Levels 0 to 255 in NHWC, or floats in NCHW: in [−1, 1] up to the noise of the last steps, beyond where
   * `diffusion.clipSample` is off.
   * @defaultValue 'uint8'
   */
  output?: 'uint8' | 'float32';
  /**
   * Called as the steps go by. What it throws ends the sampling and is the call's rejection; a promise of it is waited for
   * at the end, and its rejection counts as a throw.
   */
  onProgress?: (progress: SampleProgress) => void;
  /** Stops sampling within one step, with an AbortError. */
  signal?: AbortSignal;
}

/** Options of `Ddpm.load()`: which weights to take, and what to set otherwise than the folder says. */
export interface LoadOptions {
  /**
   * Which of several sets of weights, by diffusers' name for it: 'fp16', 'bf16', 'raw', or any other of letters, digits, `_` and
   * `-`. Left out, the weights without such a name; where `save()` has put the raw weights beside them, both are loaded.
   */
  variant?: string;
  /**
   * Options of the diffusion process to change. A folder that does not tell the schedule that its network was trained with
   * needs them; what is left out then is as for a new model.
   */
  diffusion?: DiffusionOptions;
  /** Where the model lives; the folder's own wish is 'auto'. */
  device?: Device;
  /** The numbers that the network computes with. */
  precision?: Precision | 'auto';
  /** Options of the optimizer to change. */
  optimizer?: OptimizerOptions;
  /** Options of the moving average to change. */
  ema?: EmaOptions;
  /** Seed of further training, 0 to 2^53 − 1. */
  seed?: number;
  /** Stops loading, with an AbortError. */
  signal?: AbortSignal;
}

/** Where a download from the hub stands. */
export interface HubProgress {
  /** The file that is being fetched: its path in the repository. */
  file: string;
  /** Bytes of that file that are here. */
  fileBytes: number;
  /** Size of that file in bytes. */
  fileTotalBytes: number;
  /** Bytes of all files that are here, those of earlier calls included. */
  bytes: number;
  /** Size of all files in bytes. */
  totalBytes: number;
}

/** Options of `Ddpm.fromHub()`: those of `Ddpm.load()`, and where the model comes from. */
export interface HubOptions extends LoadOptions {
  /**
   * A branch, a tag, or a commit's 40 digits. A commit that is in the cache is used without a request.
   * @defaultValue 'main'
   */
  revision?: string;
  /** Folder that the files are kept in; left out, `hub` in this package's per-user cache (`DDPM_CACHE`). */
  cacheDir?: string;
  /**
   * Access token, for repositories that are private or ask for consent; left out, the environment's (`HF_TOKEN`, or the file
   * `token` in `HF_HOME`). Sent to the hub alone.
   */
  token?: string;
  /** Address of the hub, or of a mirror; left out, the environment's `HF_ENDPOINT`, else Hugging Face's own. */
  hubUrl?: string;
  /**
   * Called as files come in, at most ten times a second and at the end of each; not called where all are in the cache. A
   * promise of it is waited for before the download goes on; what it throws, or rejects with, is the call's rejection.
   */
  onProgress?: (progress: HubProgress) => void;
}

/** Options of `save()`. */
export interface SaveOptions {
  /**
   * Whether to save the weights as trained last too, beside their moving average: as diffusers' variant 'raw'.
   * @defaultValue false
   */
  rawWeights?: boolean;
  /** Stops saving, with an AbortError; the folder is then as before. */
  signal?: AbortSignal;
}

/** Options of `parameters()`. */
export interface ParametersOptions {
  /**
   * The moving average of the weights, the weights as trained last, or the gradient of the last step.
   * @defaultValue 'ema'
   */
  weights?: 'ema' | 'raw' | 'gradient';
}
