import { configError, invalidLine, invalidOption } from './messages';
import { allow, integer, optionsWith } from './schema';
import type { ImageShape } from './types';

/** The largest height or width of an image. */
export const MAX_SIDE = 8192;

/** A height or a width in pixels. */
export const side = () => integer(1, MAX_SIDE);

export const imageSchema = allow(
  '{ size, channels } or { height, width, channels }',
  optionsWith({ channels: integer(1, 4) }, { size: side(), height: side(), width: side() }),
);

/** Options that the schema has passed, but that may still give a side twice or not at all. */
export type ParsedImage = { channels: number } & { [side in 'size' | 'height' | 'width']?: number };

/** Height and width from either form of the options. */
export function resolveImage(given: ParsedImage): ImageShape {
  const { size, height = size, width = size, channels } = given;
  const doubled = size !== undefined && (given.height !== undefined || given.width !== undefined);
  if (doubled || height === undefined || width === undefined) {
    throw invalidOption('image', 'either size or both height and width', given);
  }
  return { height, width, channels };
}

/**
 * Checks that every side of the image halves exactly once for each level after the first.
 *
 * @throws {DdpmError} `ERR_CONFIG`, naming the nearest sizes that do.
 */
export function checkHalving(given: ParsedImage, levels: number): void {
  const factor = 2 ** (levels - 1);
  const sides = (['size', 'height', 'width'] as const).filter((name) => given[name] !== undefined);
  const lines = sides.flatMap((name) => {
    const value = given[name] as number;
    if (value % factor === 0) return [];
    const below = Math.floor(value / factor) * factor;
    const nearest = [below, below + factor].filter((near) => near >= 1 && near <= MAX_SIDE).join(' or ');
    const expected = `a multiple of ${factor}, which ${levels} levels can halve (nearest: ${nearest})`;
    return [invalidLine(`image.${name}`, expected, value)];
  });
  if (lines.length) throw configError(...lines);
}
