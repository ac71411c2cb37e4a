import type { ImageShape, UNetOptions } from './types';

/** One level of the U-Net: the feature maps that it works on. */
export interface Level {
  height: number;
  width: number;
  channels: number;
  /** Whether it has self-attention after each of its blocks. */
  attention: boolean;
}

/** The levels, finest first. */
export function levelsOf(image: Readonly<ImageShape>, unet: Readonly<Required<UNetOptions>>): Level[] {
  return unet.channelMultipliers.map((multiplier, i) => ({
    height: image.height / 2 ** i,
    width: image.width / 2 ** i,
    channels: levelChannels(unet.channels, multiplier),
    attention: unet.attentionResolutions.includes(image.height / 2 ** i),
  }));
}

/** `channels × multiplier`; a whole number where a multiplier such as 1/3 misses it by rounding alone. */
export function levelChannels(channels: number, multiplier: number): number {
  const product = channels * multiplier;
  const whole = Math.round(product);
  return Math.abs(product - whole) <= 1e-9 * product ? whole : product;
}
