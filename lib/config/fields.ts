/** Options that several calls take. */
import { z } from 'zod';
import { diffusionSchema } from './diffusion';
import {
  abortSignal,
  allow,
  choice,
  type Fields,
  flag,
  fraction,
  integer,
  nonNegative,
  options,
  orNull,
  positive,
} from './schema';
import type { Device, EmaOptions, LoadOptions, OptimizerOptions } from './types';

export const optimizerSchema = options({
  learningRate: positive(),
  warmupSteps: integer(0),
  beta1: fraction(),
  beta2: fraction(),
  epsilon: positive(),
  weightDecay: nonNegative(),
  gradientClip: orNull(positive()),
} satisfies Fields<OptimizerOptions>);

export const emaSchema = options({ decay: fraction(), warmup: flag() } satisfies Fields<EmaOptions>);

export const deviceSchema = allow(
  "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'",
  z.custom<Device>((value) => typeof value === 'string' && /^(auto|cpu|cuda|cuda:(0|[1-9]\d?)|mps)$/.test(value)),
);

export const precisionSchema = choice(['auto', 'float32', 'tf32', 'bfloat16']);

export const seedSchema = integer(0, Number.MAX_SAFE_INTEGER);

/** The path of a folder, whether it is there or not. */
export const directorySchema = allow(
  'the path of a folder',
  z.custom<string>((value) => typeof value === 'string' && value !== '' && !value.includes('\0')),
);

/** Options of `Ddpm.load()`, which `Ddpm.fromHub()` takes too. */
export const loadSchema = options({
  variant: allow('a name of letters, digits, _ and -', z.string().regex(/^[\w-]{1,64}$/)),
  diffusion: diffusionSchema,
  device: deviceSchema,
  precision: precisionSchema,
  optimizer: optimizerSchema,
  ema: emaSchema,
  seed: seedSchema,
  signal: abortSignal(),
} satisfies Fields<LoadOptions>);
