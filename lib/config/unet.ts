/** The network's options: each field, then the fields against each other and against the image. */
import { z } from 'zod';
import { unetDefaults } from './defaults';
import { checkHalving, type ParsedImage } from './image';
import { type Level, levelChannels, levelsOf } from './levels';
import { invalidOption } from './messages';
import {
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
  withDefaults,
} from './schema';
import type { ImageShape, UNetOptions } from './types';

const MAX_CHANNELS = 8192;
const MAX_LEVEL_CHANNELS = 65536;
const MAX_LEVELS = 12;

type UNet = Required<UNetOptions>;

export const unetSchema = options({
  channels: integer(1, MAX_CHANNELS),
  channelMultipliers: allow(
    `an array of 1 to ${MAX_LEVELS} positive numbers`,
    z.array(positive()).min(1).max(MAX_LEVELS),
  ),
  blocksPerLevel: integer(1, 64),
  attentionResolutions: allow('an array of heights of levels', z.array(integer(1))),
  attentionHeadChannels: orNull(integer(1)),
  dropout: fraction(),
  normGroups: integer(1),
  normEpsilon: positive(),
  classes: integer(0, 1_000_000),
  downsamplePadding: choice(['asymmetric', 'symmetric']),
  flipSinToCos: flag(),
  frequencyShift: nonNegative(),
} satisfies Fields<UNetOptions>);

/** The network for an image; `givenImage` is the image as the user wrote it, for the messages. */
export function resolveUNet(given: UNetOptions | undefined, image: ImageShape, givenImage: ParsedImage): UNet {
  const unet = withDefaults(given, unetDefaults);
  checkWidths(unet);
  checkHalving(givenImage, unet.channelMultipliers.length);
  const heights = levelsOf(image, unet).map((level) => level.height);
  if (given?.attentionResolutions === undefined) {
    unet.attentionResolutions = unet.attentionResolutions.filter((height) => heights.includes(height));
  }
  checkAttentionResolutions(unet, heights);
  const levels = levelsOf(image, unet);
  checkNormGroups(unet, levels);
  checkAttentionHeads(unet, levels);
  return unet;
}

function checkWidths({ channels, channelMultipliers, frequencyShift }: UNet): void {
  const widths = channelMultipliers.map((multiplier) => levelChannels(channels, multiplier));
  widths.forEach((width, i) => {
    if (Number.isInteger(width) && width >= 1 && width <= MAX_LEVEL_CHANNELS) return;
    const expected = `a number that makes ${channels} channels times it a whole number from 1 to ${MAX_LEVEL_CHANNELS}`;
    throw invalidOption(`unet.channelMultipliers[${i}]`, expected, channelMultipliers[i]);
  });
  // The time embedding has the width of level 0: half of it sines, half cosines.
  if (widths[0] % 2 !== 0) {
    throw invalidOption('unet.channels', 'a number that makes the channels of level 0 even', channels);
  }
  const half = widths[0] / 2;
  if (frequencyShift >= half) {
    throw invalidOption('unet.frequencyShift', `a number below half the channels of level 0 (${half})`, frequencyShift);
  }
}

function checkAttentionResolutions({ attentionResolutions }: UNet, heights: number[]): void {
  attentionResolutions.forEach((resolution, i) => {
    if (heights.includes(resolution)) return;
    const expected = `the height of a level (there are ${heights.join(', ')})`;
    throw invalidOption(`unet.attentionResolutions[${i}]`, expected, resolution);
  });
}

function checkNormGroups({ normGroups }: UNet, levels: Level[]): void {
  const widths = distinctWidths(levels);
  if (widths.every((width) => width % normGroups === 0)) return;
  const largest = largestDivisor(widths, normGroups);
  const expected = `a divisor of the channels of every level (${widths.join(', ')}), such as ${largest}`;
  throw invalidOption('unet.normGroups', expected, normGroups);
}

function checkAttentionHeads({ attentionHeadChannels }: UNet, levels: Level[]): void {
  if (attentionHeadChannels === null) return;
  // The middle block works at the last level's width, and has attention always.
  const widths = distinctWidths(levels.filter((level, i) => level.attention || i === levels.length - 1));
  if (widths.every((width) => width % attentionHeadChannels === 0)) return;
  const largest = largestDivisor(widths, attentionHeadChannels);
  const expected = `a divisor of the channels where there is attention (${widths.join(', ')}), such as ${largest}, or null`;
  throw invalidOption('unet.attentionHeadChannels', expected, attentionHeadChannels);
}

function distinctWidths(levels: Level[]): number[] {
  return [...new Set(levels.map((level) => level.channels))];
}

/** The largest divisor of all the widths that is no larger than `limit`. */
function largestDivisor(widths: number[], limit: number): number {
  let divisor = Math.min(limit, ...widths);
  while (widths.some((width) => width % divisor !== 0)) divisor--;
  return divisor;
}
