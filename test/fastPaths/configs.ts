/** Networks of every kind, the same ones for the same seed. */
import type { DdpmConfig } from '../../lib';
import { uniforms } from '../model/numbers';

export interface Case {
  config: DdpmConfig;
  batch: number;
}

/** The case of a seed: odd sizes, odd channels, groups that lie across two maps side by side, attention anywhere. */
export function caseOf(seed: number): Case {
  const uniform = uniforms(1000 + seed);
  const below = (n: number) => Math.floor(n * uniform());
  const pick = <T>(values: readonly T[]): T => values[below(values.length)];
  const levels = 1 + below(3);
  const unit = pick([4, 6, 8, 12, 20, 24, 32]);
  const side = () => (1 + below(Math.max(1, Math.floor(24 / 2 ** (levels - 1))))) * 2 ** (levels - 1);
  const height = side();
  const heights = Array.from({ length: levels }, (_, i) => height / 2 ** i);
  const normGroups = pick([1, 2, 3, 4, 6, 8].filter((groups) => unit % groups === 0));
  return {
    batch: 1 + below(5),
    config: {
      image: { height, width: side(), channels: 1 + below(4) },
      unet: {
        channels: unit,
        channelMultipliers: Array.from({ length: levels }, () => 1 + below(3)),
        blocksPerLevel: 1 + below(2),
        attentionResolutions: heights.filter(() => uniform() < 0.4),
        attentionHeadChannels: pick([null, null, unit, unit / 2]),
        dropout: pick([0, 0.3]),
        normGroups,
        normEpsilon: pick([1e-6, 1e-5]),
        classes: pick([0, 0, 3]),
        downsamplePadding: pick(['asymmetric', 'symmetric']),
        flipSinToCos: pick([true, false]),
        frequencyShift: pick([0, 1]),
      },
      diffusion: { timesteps: 50 },
      optimizer: { gradientClip: null },
      device: 'cpu',
      seed,
    },
  };
}
