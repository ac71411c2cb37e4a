import type { NativeDiffusionOptions, NativeModelOptions, NativeUNetOptions } from '../binding';
import { levelsOf } from './levels';
import type { ResolvedConfig } from './types';

/** The configuration as the native model takes it. */
export function nativeModelOptions(config: ResolvedConfig): NativeModelOptions {
  const { optimizer, ema, device, precision, seed } = config;
  return {
    unet: nativeUNetOptions(config),
    diffusion: nativeDiffusionOptions(config),
    optimizer: { ...optimizer, gradientClip: optimizer.gradientClip ?? 0 },
    ema: { ...ema },
    device,
    precision,
    seed,
  };
}

/** The diffusion process as the native side takes it. */
export function nativeDiffusionOptions({ diffusion }: ResolvedConfig): NativeDiffusionOptions {
  const { timesteps, betaSchedule, betaStart, betaEnd, betas, predictionType, varianceType, clipSample } = diffusion;
  return {
    timesteps,
    betaSchedule,
    betaStart,
    betaEnd,
    betas: [...(betas ?? [])],
    predictionType,
    varianceType,
    clipSample,
  };
}

function nativeUNetOptions({ image, unet, diffusion }: ResolvedConfig): NativeUNetOptions {
  const levels = levelsOf(image, unet);
  return {
    height: image.height,
    width: image.width,
    inChannels: image.channels,
    // A learned variance is a second value for each of the image's.
    outChannels: diffusion.varianceType === 'learned_range' ? 2 * image.channels : image.channels,
    blockOutChannels: levels.map((level) => level.channels),
    layersPerBlock: unet.blocksPerLevel,
    attention: levels.map((level) => level.attention),
    attentionHeadChannels: unet.attentionHeadChannels ?? 0,
    dropout: unet.dropout,
    normGroups: unet.normGroups,
    normEpsilon: unet.normEpsilon,
    symmetricDownsamplePadding: unet.downsamplePadding === 'symmetric',
    flipSinToCos: unet.flipSinToCos,
    frequencyShift: unet.frequencyShift,
    classes: unet.classes,
  };
}
