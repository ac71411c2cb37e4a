import { type NativeDiffusion, native } from './binding';
import {
  alternatives,
  type DiffusionStepOptions,
  invalidOption,
  nativeDiffusionOptions,
  type ResolvedConfig,
  requireFixedVariance,
  resolveDiffusionStepOptions,
  type SampleOptions,
  timestepSpacings,
} from './config';
import { callNative } from './operation';
import { imagesOf, type Tensor, type TensorLike, type Timesteps, timestepsOf } from './tensor';

const quantities = [
  'betas',
  'alphas_cumprod',
  'alphas_cumprod_prev',
  'sqrt_alphas_cumprod',
  'sqrt_one_minus_alphas_cumprod',
  'posterior_variance',
  'posterior_mean_coef_x0',
  'posterior_mean_coef_xt',
] as const;

/** Quantities of a noise schedule, by their names in the field; each has a value for t = 0 … T − 1. */
export type ScheduleQuantity = (typeof quantities)[number];

/**
 * The mathematics of the two processes (Ho, Jain, Abbeel 2020, sections 2 and 3), for loops of one's own. Everything is
 * computed at once, on the CPU. Images are [n, C, H, W]; `t` is a 0-based index into the betas, one for all images or
 * one for each.
 */
export class Diffusion {
  readonly #config: ResolvedConfig;
  readonly #native: NativeDiffusion;

  /** Made by {@link Ddpm}: use `ddpm.diffusion`. */
  constructor(config: ResolvedConfig) {
    this.#config = config;
    const { Diffusion: Native } = native();
    this.#native = callNative(() => new Native(nativeDiffusionOptions(config)));
  }

  /** T, the length of the chain. */
  get timesteps(): number {
    return this.#config.diffusion.timesteps;
  }

  /**
   * A quantity of the schedule for every timestep, in float64; a copy.
   *
   * @throws {DdpmError} `ERR_CONFIG`: there is no quantity of that name.
   */
  schedule(quantity: ScheduleQuantity): Float64Array {
    if (!quantities.includes(quantity)) {
      throw invalidOption('quantity', alternatives(quantities), quantity);
    }
    return callNative(() => this.#native.schedule(quantity));
  }

  /**
   * The timesteps that a sampler of so many steps visits, noisiest first; each is one network call.
   *
   * @param steps Network calls, 1 to {@link timesteps}.
   * @param spacing Which timesteps are visited when there are fewer than all; as `sample()`'s `timestepSpacing`.
   * @throws {DdpmError} `ERR_CONFIG`: there are not so many steps, or no spacing of that name.
   */
  samplerTimesteps(steps: number, spacing: NonNullable<SampleOptions['timestepSpacing']>): Int32Array {
    if (!Number.isInteger(steps) || steps < 1 || steps > this.timesteps) {
      throw invalidOption('steps', `an integer from 1 to ${this.timesteps} (the model's timesteps)`, steps);
    }
    if (!timestepSpacings.includes(spacing)) {
      throw invalidOption('spacing', alternatives(timestepSpacings), spacing);
    }
    return callNative(() => this.#native.timesteps(steps, spacing));
  }

  /**
   * x_t for given noise: √ᾱ_t x_0 + √(1 − ᾱ_t) ε (Equation 4).
   *
   * @throws {DdpmError} `ERR_CONFIG`: a shape does not fit, or a timestep is out of range.
   */
  addNoise(x0: TensorLike, t: Timesteps, noise: TensorLike): Tensor {
    const { data, count } = imagesOf('x0', x0, this.#config.image);
    const eps = imagesOf('noise', noise, this.#config.image, count);
    const each = timestepsOf(t, count, this.timesteps);
    return this.#tensor(
      callNative(() => this.#native.addNoise(data, each, eps.data)),
      count,
    );
  }

  /**
   * Mean and variance of q(x_{t−1} | x_t, x_0) (Equations 6 and 7). The variance is one number an image; at t = 0 it is 0,
   * and its logarithm −∞.
   *
   * @throws {DdpmError} `ERR_CONFIG`: a shape does not fit, or a timestep is out of range.
   */
  posterior(
    x0: TensorLike,
    xt: TensorLike,
    t: Timesteps,
  ): { mean: Tensor; variance: Float64Array; logVariance: Float64Array } {
    const { data, count } = imagesOf('x0', x0, this.#config.image);
    const noisy = imagesOf('xt', xt, this.#config.image, count);
    const each = timestepsOf(t, count, this.timesteps);
    const { mean, ...rest } = callNative(() => this.#native.posterior(data, noisy.data, each));
    return { mean: this.#tensor(mean, count), ...rest };
  }

  /**
   * One ancestral step (Algorithm 2, lines 3 and 4) from the network's output: x_{t−1} and the x̂_0 that it goes by, which
   * is clipped to [−1, 1] where `diffusion.clipSample` says so. At t = 0 no noise is added, whatever is given.
   *
   * @throws {DdpmError} `ERR_CONFIG`: a shape does not fit, a timestep is out of range, or the variance is a learned one.
   */
  step(
    modelOutput: TensorLike,
    t: Timesteps,
    xt: TensorLike,
    options?: DiffusionStepOptions,
  ): { prev: Tensor; x0: Tensor } {
    requireFixedVariance(this.#config, 'sampling');
    const { data, count } = imagesOf('xt', xt, this.#config.image);
    const output = imagesOf('modelOutput', modelOutput, this.#config.image, count);
    const { noise } = resolveDiffusionStepOptions(options, count, this.#config);
    const each = timestepsOf(t, count, this.timesteps);
    const step = callNative(() => this.#native.step(output.data, each, data, noise));
    return { prev: this.#tensor(step.prev, count), x0: this.#tensor(step.x0, count) };
  }

  #tensor(data: Float32Array, count: number): Tensor {
    const { channels, height, width } = this.#config.image;
    return { data, shape: [count, channels, height, width] };
  }
}
