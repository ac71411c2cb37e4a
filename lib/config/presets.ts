import { deepFreeze } from './freeze';
import type { DdpmConfig } from './types';

/** What the 256×256 models of the paper share: Appendix B, and the variance of the code that trained them. */
const paper256 = {
  image: { size: 256, channels: 3 },
  unet: { channels: 128, channelMultipliers: [1, 1, 2, 2, 4, 4], attentionResolutions: [16], dropout: 0 },
  diffusion: { varianceType: 'fixed_small' },
  optimizer: { learningRate: 2e-5 },
} as const satisfies DdpmConfig;

/**
 * Configurations to start from, deeply frozen: `new Ddpm(presets.cifar10)`, or with changes
 * `new Ddpm({ ...presets.cifar10, seed: 7 })`. All but `tiny` are models of Ho, Jain and Abbeel (2020). What belongs to a
 * training rather than a model (batch size, mirroring, steps) goes to `train()` and is noted beside each.
 */
export const presets: {
  /** CIFAR-10, 32×32, 35,746,307 parameters. Trained with batches of 128 and mirroring, 800,000 steps. */
  readonly cifar10: DdpmConfig;
  /** CelebA-HQ, 256×256, 113,673,219 parameters. Trained with batches of 64 and mirroring, 500,000 steps. */
  readonly celebaHq256: DdpmConfig;
  /**
   * LSUN, 256×256, 113,673,219 parameters. Trained with batches of 64; bedroom without mirroring, 2,400,000 steps;
   * cat and church with mirroring, 1,800,000 and 1,200,000 steps.
   */
  readonly lsun256: DdpmConfig;
  /** The larger LSUN bedroom model, 256×256, 255,677,955 parameters. Trained with batches of 64 without mirroring, 1,150,000 steps. */
  readonly lsunBedroomLarge256: DdpmConfig;
  /** For tests and experiments: 32×32, 1,113,955 parameters. Learns simple pictures in minutes on a CPU, with batches of 32. */
  readonly tiny: DdpmConfig;
} = deepFreeze({
  cifar10: {
    image: { size: 32, channels: 3 },
    unet: { channels: 128, channelMultipliers: [1, 2, 2, 2], attentionResolutions: [16], dropout: 0.1 },
    diffusion: { varianceType: 'fixed_large' },
    optimizer: { learningRate: 2e-4 },
  },
  celebaHq256: paper256,
  lsun256: paper256,
  lsunBedroomLarge256: { ...paper256, unet: { ...paper256.unet, channels: 192 } },
  tiny: {
    image: { size: 32, channels: 3 },
    unet: {
      channels: 32,
      channelMultipliers: [1, 2, 2],
      blocksPerLevel: 1,
      attentionResolutions: [8],
      dropout: 0,
      normGroups: 8,
    },
    optimizer: { learningRate: 1e-3, warmupSteps: 100 },
    ema: { decay: 0.995 },
  },
});
