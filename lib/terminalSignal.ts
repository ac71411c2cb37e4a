/** What is told of a schedule whose chain does not end in noise. */

import { warnOnce } from './warn';

/** The share of an image's amplitude that may be left at the end. The paper's schedule leaves 0.6 %; latent diffusion's, 6.8 %. */
const MOST_LEFT = 0.1;

/**
 * Warns, once, where much of the image is left at t = T − 1: sampling begins from noise alone there, which the network has
 * then never seen, and pictures come out pale and alike.
 *
 * @param sqrtAlphaBar √ᾱ for each timestep.
 */
export function tellOfSignal(sqrtAlphaBar: Float64Array): void {
  const left = sqrtAlphaBar[sqrtAlphaBar.length - 1];
  if (left <= MOST_LEFT) return;
  warnOnce(
    'DDPM_SIGNAL_LEFT',
    `diffusion: with ${sqrtAlphaBar.length} timesteps of these betas ${Math.round(100 * left)} % of the image's amplitude is ` +
      'left at t = T − 1 (√ᾱ), though sampling begins from noise alone: take more timesteps, a larger betaEnd, or ' +
      "betaSchedule 'cosine', which fits any number of them",
  );
}
