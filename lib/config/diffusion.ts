/** The diffusion process's options: each field, then the fields against each other. */
import { z } from 'zod';
import { diffusionDefaults } from './defaults';
import { invalidOption } from './messages';
import { allow, choice, type Fields, flag, integer, openFraction, options, orNull, withDefaults } from './schema';
import type { DiffusionOptions } from './types';

const MAX_TIMESTEPS = 1_000_000;

const betas = allow(
  `an array of 1 to ${MAX_TIMESTEPS} numbers between 0 and 1, both excluded`,
  z.array(openFraction()).min(1).max(MAX_TIMESTEPS),
);

export const diffusionSchema = options({
  timesteps: integer(1, MAX_TIMESTEPS),
  betaSchedule: choice(['linear', 'scaled_linear', 'cosine']),
  betaStart: openFraction(),
  betaEnd: openFraction(),
  betas: orNull(betas),
  predictionType: choice(['epsilon'], ['sample', 'v_prediction']),
  varianceType: choice(['fixed_large', 'fixed_small', 'learned_range']),
  loss: choice(['simple'], ['hybrid', 'vlb']),
  clipSample: flag(),
} satisfies Fields<DiffusionOptions>);

/**
 * Every schedule keeps 0 < β < 1: given ones and the two ends are checked one by one, the linear ones lie between their
 * ends, and the cosine one is positive and capped at 0.999.
 */
export function resolveDiffusion(given: DiffusionOptions = {}): Required<DiffusionOptions> {
  const diffusion = withDefaults(given, diffusionDefaults);
  refuseUnused(diffusion);
  if (diffusion.betas === null) return diffusion;
  const { length } = diffusion.betas;
  if (given.timesteps !== undefined && given.timesteps !== length) {
    throw invalidOption(
      'diffusion.timesteps',
      `${length} (the length of diffusion.betas) or no value`,
      given.timesteps,
    );
  }
  return { ...diffusion, timesteps: length };
}

/** An option that changes nothing is refused, but for its default: a resolved configuration must resolve to itself. */
function refuseUnused(diffusion: Required<DiffusionOptions>): void {
  const unused = (reason: string, names: readonly (keyof DiffusionOptions)[]) => {
    for (const name of names) {
      if (diffusion[name] === diffusionDefaults[name]) continue;
      throw invalidOption(`diffusion.${name}`, `no value (${reason})`, diffusion[name]);
    }
  };
  if (diffusion.betas !== null) {
    unused('diffusion.betas gives the schedule', ['betaSchedule', 'betaStart', 'betaEnd']);
  } else if (diffusion.betaSchedule === 'cosine') {
    unused("diffusion.betaSchedule 'cosine' does not use it", ['betaStart', 'betaEnd']);
  }
}
