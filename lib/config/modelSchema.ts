import { diffusionSchema } from './diffusion';
import { deviceSchema, emaSchema, optimizerSchema, precisionSchema, seedSchema } from './fields';
import { imageSchema } from './image';
import { type Fields, optionsWith } from './schema';
import type { DdpmConfig } from './types';
import { unetSchema } from './unet';

/** A model's whole configuration: each option by itself; whether they go together is for `resolveConfig`. */
export const configSchema = optionsWith({ image: imageSchema }, {
  unet: unetSchema,
  diffusion: diffusionSchema,
  optimizer: optimizerSchema,
  ema: emaSchema,
  device: deviceSchema,
  precision: precisionSchema,
  seed: seedSchema,
} satisfies Fields<Omit<DdpmConfig, 'image'>>);
