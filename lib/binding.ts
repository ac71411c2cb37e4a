/**
 * The typed face of the native addon: every class, method and plain struct that crosses the boundary, and the function
 * that finds and loads the addon. Options travel by name; data is copied at the call, so no JS value is touched off its
 * thread. Nothing here validates: `config/` has done that before a native call is made.
 */

import { join } from 'node:path';
import { loadAddon } from './load';

/** Options of the U-Net; one field for each of `UNetConfig` in native/model/unet_config.h. */
export interface NativeUNetOptions {
  height: number;
  width: number;
  inChannels: number;
  outChannels: number;
  /** Channels of each level, finest first. */
  blockOutChannels: number[];
  /** Residual blocks a level on the way down; one more on the way up. */
  layersPerBlock: number;
  /** Whether a level has self-attention after each of its blocks, finest first. */
  attention: boolean[];
  /** Channels of one attention head; 0 for a single head of all channels. */
  attentionHeadChannels: number;
  dropout: number;
  normGroups: number;
  normEpsilon: number;
  /** true: padding 1 on all sides before the strided convolution; false: the asymmetric (0,1,0,1). */
  symmetricDownsamplePadding: boolean;
  /** true: the time embedding is [cos, sin]; false: [sin, cos]. */
  flipSinToCos: boolean;
  /** What is taken from half the embedding width in the exponent's denominator. */
  frequencyShift: number;
  /** Classes of the class embedding; 0 for none. */
  classes: number;
}

/** Options of the diffusion process; one field for each of `DiffusionConfig` in native/diffusion/diffusion_config.h. */
export interface NativeDiffusionOptions {
  timesteps: number;
  betaSchedule: 'linear' | 'scaled_linear' | 'cosine';
  betaStart: number;
  betaEnd: number;
  /** A schedule given value by value instead; empty for none. */
  betas: number[];
  predictionType: 'epsilon';
  varianceType: 'fixed_small' | 'fixed_large' | 'learned_range';
  clipSample: boolean;
}

export interface NativeOptimizerOptions {
  learningRate: number;
  warmupSteps: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Largest global norm of the gradient; 0 for no clipping. */
  gradientClip: number;
}

export interface NativeEmaOptions {
  decay: number;
  warmup: boolean;
}

export interface NativeModelOptions {
  unet: NativeUNetOptions;
  diffusion: NativeDiffusionOptions;
  optimizer: NativeOptimizerOptions;
  ema: NativeEmaOptions;
  /** 'cpu', 'cuda', 'cuda:N' or 'mps'; 'auto' takes a CUDA device where there is one. */
  device: string;
  precision: 'float32' | 'tf32' | 'bfloat16';
  seed: number;
}

/** Work under way on a model's own thread. */
export interface NativeOperation<T> {
  /** Settles on the JS thread; rejects with an Error that carries `code`. */
  readonly promise: Promise<T>;
  /** Asks the work to stop at its next poll; the promise then rejects with code 'ABORT_ERR'. */
  abort(): void;
}

export interface NativeTrainProgress {
  step: number;
  totalSteps: number;
  loss: number;
  learningRate: number;
  gradientNorm: number;
  imagesPerSecond: number;
  etaSeconds: number;
  skippedSteps: number;
}

export interface NativeTrainOptions {
  dataset: NativePixelStore;
  /** One class an image; absent for an unconditional model. */
  labels?: Int32Array;
  /** The total to reach, counted from the model's first update. */
  steps: number;
  batchSize: number;
  gradientAccumulation: number;
  /** Computes what lies within a block again on the way back, instead of keeping it. */
  gradientCheckpointing: boolean;
  horizontalFlip: boolean;
  progressEvery: number;
  /** Updates in a row that are not finite, after which training gives up. */
  maxNonFinite: number;
  /** Steps from one checkpoint to the next; 0 for none. */
  checkpointEvery: number;
  onProgress?: (progress: NativeTrainProgress) => void;
  /**
   * Gets a copy of the state when a checkpoint is due, or the reason why none could be made. The next is not made before
   * this one is released.
   */
  onCheckpoint?: (state: NativeTrainingState | Error) => void;
}

export interface NativeTrainResult {
  step: number;
  loss: number;
  skippedSteps: number;
  seconds: number;
}

export interface NativeTrainStepOptions {
  /** [n, C, H, W] in [-1, 1]. */
  x0: Float32Array;
  t: Int32Array;
  noise: Float32Array;
  labels?: Int32Array;
  gradientAccumulation: number;
}

export interface NativePredictOptions {
  /** [n, C, H, W]. */
  x: Float32Array;
  t: Int32Array;
  labels?: Int32Array;
  weights: 'ema' | 'raw';
}

export interface NativeSampleOptions {
  count: number;
  sampler: 'ddpm' | 'ddim';
  /** Network calls an image. */
  steps: number;
  timestepSpacing: 'leading' | 'trailing' | 'linspace';
  eta: number;
  seed: number;
  batchSize: number;
  weights: 'ema' | 'raw';
  /** x_T, [count, C, H, W]; absent: drawn from the seed. */
  noise?: Float32Array;
  labels?: Int32Array;
  output: 'uint8' | 'float32';
  onProgress?: (progress: { step: number; totalSteps: number }) => void;
}

export interface NativeSampleResult {
  /** 'uint8': [n, H, W, C] levels; 'float32': [n, C, H, W] in [-1, 1]. */
  data: Uint8Array | Float32Array;
}

/** The sets of values that have one tensor for each parameter. */
export type NativeWeightSet = 'raw' | 'ema' | 'gradient';

/** A host copy of one value for each parameter (float32, owned by the native side), moved in pieces so that no call is long. */
export interface NativeWeights {
  /** The values of a parameter from element `offset` on, as float32; a copy. */
  read(name: string, offset: number, count: number): Float32Array;
  /** Puts values at element `offset` of a parameter, converting little-endian elements of `dtype` to float32. */
  write(name: string, offset: number, bytes: Uint8Array, dtype: 'F32' | 'F16' | 'BF16' | 'F64'): void;
}

/** The sets of values that training carries from one update to the next. */
export type NativeStateSet = 'raw' | 'ema' | 'firstMoment' | 'secondMoment';

/** Where a training is; one field for each of `TrainingCounters` in native/training/training_state.h. */
export interface NativeTrainingCounters {
  /** Updates, those left out included. */
  step: number;
  /** Updates made. */
  updates: number;
  /** Updates that the moving average has taken in: those before its weights were loaded, too. */
  averaged: number;
  /** The position in the data order. */
  imagesSeen: number;
  /** Updates left out since the last one made. */
  skippedInARow: number;
  /** Updates since the last report whose loss was finite, and the sum of those losses. */
  unreportedLosses: number;
  unreportedLoss: number;
}

/** A host copy of the state of a training, moved in pieces as {@link NativeWeights} are. */
export interface NativeTrainingState {
  readonly counters: NativeTrainingCounters;
  read(set: NativeStateSet, name: string, offset: number, count: number): Float32Array;
  write(
    set: NativeStateSet,
    name: string,
    offset: number,
    bytes: Uint8Array,
    dtype: 'F32' | 'F16' | 'BF16' | 'F64',
  ): void;
  /** Gives the memory back; nothing can be read any more. */
  release(): void;
}

/** Model, optimizer and EMA; each instance has a thread of its own. */
export interface NativeModel {
  /** The device in use: 'cpu', 'cuda:N' or 'mps:0'. */
  readonly device: string;
  readonly step: number;
  /** Name and shape of each parameter, in the order of the network's layers. */
  parameters(): { name: string; shape: number[] }[];
  train(options: NativeTrainOptions): NativeOperation<NativeTrainResult>;
  trainStep(
    options: NativeTrainStepOptions,
  ): NativeOperation<{ loss: number; gradientNorm: number; learningRate: number }>;
  predict(options: NativePredictOptions): NativeOperation<Float32Array>;
  sample(options: NativeSampleOptions): NativeOperation<NativeSampleResult>;
  /** Copies of the sets as they stand between two steps, all of the same step. */
  exportWeights(sets: NativeWeightSet[]): NativeOperation<{ step: number; averaged: number; weights: NativeWeights[] }>;
  /** An empty (zero) set of this model's shapes, to be filled and imported. */
  createWeights(): NativeOperation<NativeWeights>;
  /**
   * Replaces the named sets; optimizer moments and the step count start afresh. The moving average counts on from
   * `averaged` updates.
   */
  importWeights(weights: NativeWeights, sets: ('raw' | 'ema')[], averaged: number): NativeOperation<void>;
  /**
   * For benchmarks: seconds of the network's convolutions alone, as LibTorch computes them, once for each repeat; empty
   * where this processor or device has no path that takes them apart.
   */
  timeConvolutions(options: { images: number; repeats: number }): NativeOperation<Float64Array>;
  /** A copy of the state of training as it stands between two steps. */
  exportState(): NativeOperation<NativeTrainingState>;
  /** An empty (zero) state, to be filled and imported. */
  createState(): NativeOperation<NativeTrainingState>;
  /** Goes on from a state. */
  importState(state: NativeTrainingState, counters: NativeTrainingCounters): NativeOperation<void>;
  /** Refuses new work from now on; resolves when what is running has ended and memory is given back. */
  dispose(): Promise<void>;
}

/** Images as levels (uint8, [n, H, W, C]) in memory, or mapped from a file. */
export interface NativePixelStore {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Copies whole images in at the end. */
  append(pixels: Uint8Array): void;
  /** A copy of images [index, index + count). */
  read(index: number, count: number): Uint8Array;
}

/** The diffusion mathematics on plain arrays; all shapes [n, C, H, W] flattened, one t an image. */
export interface NativeDiffusion {
  /** A derived coefficient for every timestep, in float64, by its name in the paper's terms. */
  schedule(quantity: string): Float64Array;
  addNoise(x0: Float32Array, t: Int32Array, noise: Float32Array): Float32Array;
  posterior(
    x0: Float32Array,
    xt: Float32Array,
    t: Int32Array,
  ): { mean: Float32Array; variance: Float64Array; logVariance: Float64Array };
  step(
    modelOutput: Float32Array,
    t: Int32Array,
    xt: Float32Array,
    noise: Float32Array | undefined,
  ): { prev: Float32Array; x0: Float32Array };
  /** The timesteps that a sampler visits, first (noisiest) to last. */
  timesteps(steps: number, spacing: string): Int32Array;
}

/** Passes of networks over CUDA devices since the process began; one field for each of `PassCounts` in native/device/device.h. */
export interface NativePassCounts {
  /** CUDA graphs made. */
  captured: number;
  /** Captures that failed. */
  refused: number;
  /** Passes that were a launch of a graph. */
  launched: number;
  /** Passes that ran kernel by kernel. */
  uncaptured: number;
  /** The reason of the last capture that failed; empty where none did. */
  why: string;
}

/** Bytes of a CUDA device; zeros where there is none. One field for each of `DeviceMemory` in native/device/device.h. */
export interface NativeDeviceMemory {
  free: number;
  total: number;
  /** What this process's allocator holds. */
  reserved: number;
  /** The most that it held since the process began, or since `resetMostReserved()`. */
  mostReserved: number;
}

export interface NativeAddon {
  /** Release of the LibTorch in use, e.g. '2.13.0'. */
  readonly libtorchVersion: string;
  /** Whether this build can compute on a CUDA device here. */
  readonly cudaAvailable: boolean;
  /** Why a build for CUDA cannot; undefined where it can, and in a build for the CPU. */
  readonly cudaProblem?: string;
  /** Whether new memory of tensors on the CPU is filled with NaN: DDPM_POISON=1. */
  readonly memoryIsPoisoned: boolean;
  /** What it was built for; one for CUDA serves without a card too. */
  readonly variant: 'cpu' | 'cuda';
  /** How the process's passes over CUDA devices were run: what tells that CUDA graphs are captured where they should be. */
  passCounts(): NativePassCounts;
  deviceMemory(index: number): NativeDeviceMemory;
  resetMostReserved(index: number): void;
  Model: new (options: NativeModelOptions) => NativeModel;
  /** Name and shape of each parameter of a network that need not be made, in the order of its layers. */
  unetParameters(options: NativeUNetOptions): { name: string; shape: number[] }[];
  Diffusion: new (options: NativeDiffusionOptions) => NativeDiffusion;
  PixelStore: {
    new (shape: { height: number; width: number; channels: number }): NativePixelStore;
    /** Maps `count` images that start `byteOffset` bytes into a file; the file must not change while it is mapped. */
    map(
      path: string,
      shape: { height: number; width: number; channels: number; count: number; byteOffset: number },
    ): NativePixelStore;
  };
}

/** Loaded with this module, so that the first `require` of the package tells of a missing addon, and no later call. */
const addon = loadAddon(join(__dirname, '..')) as NativeAddon;

/** The native addon. Loading this module throws `ERR_NATIVE_UNAVAILABLE` where there is none that loads. */
export function native(): NativeAddon {
  return addon;
}
