/** Options of sampling. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { NativeSampleOptions } from '../binding';
import { imagesOf, type TensorLike } from '../tensor';
import { defaultSteps, sampleDefaults } from './defaults';
import { labelsOf } from './labels';
import { invalidOption } from './messages';
import {
  abortSignal,
  allow,
  callback,
  choice,
  type Fields,
  integer,
  later,
  options,
  parseOptions,
  withDefaults,
} from './schema';
import type { ClassLabels, ResolvedConfig, SampleOptions, SampleProgress } from './types';

/** Most values in one result: 4 GiB of floats, the longest array that every supported Node can hold. */
const MAX_VALUES = 2 ** 30;

/** Ways to choose which timesteps are visited when there are fewer than all. */
export const timestepSpacings = ['leading', 'trailing', 'linspace'] as const;

const sampleSchema = options(
  {
    sampler: choice(['ddpm', 'ddim'], ['dpmsolver++']),
    steps: integer(1),
    eta: allow('a number from 0 to 1', z.number().min(0).max(1)),
    timestepSpacing: choice(timestepSpacings),
    seed: integer(0, Number.MAX_SAFE_INTEGER),
    batchSize: integer(1, 65536),
    weights: choice(['ema', 'raw']),
    noise: later<TensorLike>(),
    classLabels: later<ClassLabels>(),
    output: choice(['uint8', 'float32']),
    onProgress: callback<(progress: SampleProgress) => void>(),
    signal: abortSignal(),
  } satisfies Fields<SampleOptions>,
  ['guidanceScale'],
);

/** Options of sampling as the native side takes them; and the signal. */
export type ResolvedSampleOptions = NativeSampleOptions & { signal?: AbortSignal };

/**
 * Arguments of `sample(n, options)`, checked against the model.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveSampleOptions(
  n: number,
  given: SampleOptions | undefined,
  config: ResolvedConfig,
): ResolvedSampleOptions {
  const { image, diffusion } = config;
  checkCount(n, image.channels * image.height * image.width);
  const { steps, seed, noise, classLabels, onProgress, signal, ...rest } = parseOptions(
    sampleSchema,
    given === undefined ? {} : given,
    'options',
  );
  const resolved = withDefaults(rest, sampleDefaults);
  if (rest.eta !== undefined && resolved.sampler === 'ddpm') {
    throw invalidOption('eta', "no value with sampler 'ddpm', which does not use it (sampler 'ddim' does)", rest.eta);
  }
  if (steps !== undefined && steps > diffusion.timesteps) {
    throw invalidOption('steps', `an integer from 1 to ${diffusion.timesteps} (the model's timesteps)`, steps);
  }
  return {
    count: n,
    steps: steps ?? defaultSteps[resolved.sampler](diffusion.timesteps),
    seed: seed ?? randomSeed(),
    noise: noise === undefined ? undefined : finite('noise', imagesOf('noise', noise, image, n).data),
    labels: labelsOf(classLabels, n, config),
    onProgress,
    signal,
    ...resolved,
  };
}

function checkCount(n: unknown, valuesPerImage: number): void {
  const most = Math.floor(MAX_VALUES / valuesPerImage);
  if (Number.isInteger(n) && (n as number) >= 1 && (n as number) <= most) return;
  throw invalidOption('n', `an integer from 1 to ${most}`, n);
}

function finite(path: string, data: Float32Array): Float32Array {
  // A plain loop: with a callback for each value, large noise would hold the event loop several times as long.
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) throw invalidOption(`${path}[${i}]`, 'a finite number', data[i]);
  }
  return data;
}

/** 0 to 2^53 − 1. */
function randomSeed(): number {
  return Number(randomBytes(8).readBigUInt64LE() >> 11n);
}
