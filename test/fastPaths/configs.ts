/** Networks of every kind, the same ones for the same seed. */
import type { DdpmConfig } from '../../lib';
import { device } from '../helpers/device';
import { uniforms } from '../model/numbers';

export interface Case {
  config: DdpmConfig;
  batch: number;
  /** What is added to the noisy images, far from zero in some cases. */
  offset: number;
}

/** The most channels of a level, and the most multiplications of an image's convolutions of one pixel. */
const mostChannels = 64;
const mostWork = 3e6;

/**
 * The case of a seed: from one pixel to 48×40, odd channels and sixteens of them, groups that lie across two maps side by side or hold a single
 * channel, attention anywhere.
 */
export function caseOf(seed: number): Case {
  const uniform = uniforms(1000 + seed);
  const below = (n: number) => Math.floor(n * uniform());
  const pick = <T>(values: readonly T[]): T => values[below(values.length)];
  const levels = 1 + below(4);
  const smallest = 2 ** (levels - 1);
  // Small maps as often as large ones: they are where kernels end before a vector, or a piece of an image, is full.
  const side = (most: number) => {
    const limit = pick([smallest, 8, 20, most]);
    return (1 + below(Math.max(1, Math.floor(limit / smallest)))) * smallest;
  };
  const height = side(48);
  const width = side(40);
  const multipliers = Array.from({ length: levels }, () => 1 + below(3));
  const widest = Math.max(...multipliers);
  const busiest = Math.max(...multipliers.map((multiplier, i) => multiplier / 2 ** i));
  // Every other network has sixteens of channels, which have kernels of their own.
  const units = seed % 2 === 0 ? [4, 6, 8, 12, 20, 24] : [16, 32, 48];
  const fits = (unit: number) =>
    unit === units[0] || (unit * widest <= mostChannels && height * width * (unit * busiest) ** 2 <= mostWork);
  const unit = pick(units.filter(fits));
  const heights = multipliers.map((_, i) => height / 2 ** i);
  // A group of one or two values comes out the same whatever they are, and a gradient through it is what rounding leaves
  // (an input's last bits change it by a hundredth): normalization.test.ts has those. A level's first normalization sees
  // the channels of the level before it.
  const values = multipliers.map(
    (multiplier, i) => (height * width * unit * Math.min(multiplier, multipliers[i - 1] ?? 1)) / 4 ** i,
  );
  const smallGroup = Math.min(...values);
  const groups = [1, 2, 3, 4, 6, 8, unit].filter((n) => unit % n === 0 && (n === 1 || smallGroup / n >= 4));
  return {
    batch: 1 + below(9),
    offset: pick([0, 0, 5, -30]),
    config: {
      image: { height, width, channels: 1 + below(4) },
      unet: {
        channels: unit,
        channelMultipliers: multipliers,
        blocksPerLevel: 1 + below(3),
        attentionResolutions: heights.filter((_, i) => (height * width) / 4 ** i <= 600 && uniform() < 0.4),
        attentionHeadChannels: pick([null, null, unit, unit / 2]),
        dropout: pick([0, 0.3]),
        normGroups: pick(groups),
        normEpsilon: pick([1e-6, 1e-5]),
        classes: pick([0, 0, 3]),
        downsamplePadding: pick(['asymmetric', 'symmetric']),
        flipSinToCos: pick([true, false]),
        frequencyShift: pick([0, 1]),
      },
      diffusion: { timesteps: 50 },
      optimizer: { gradientClip: null },
      device,
      seed,
    },
  };
}
