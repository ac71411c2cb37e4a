/** What the options of all data sets have in common. */
import { z } from 'zod';
import { invalidOption } from '../config/messages';
import { allow, parseOptions } from '../config/schema';

export { MAX_SIDE, side } from '../config/image';

/** Height and width in pixels. */
export interface Sides {
  height: number;
  width: number;
}

/** A name in the file system. */
export const path = () =>
  allow(
    'a path',
    z
      .string()
      .min(1)
      .regex(/^[^\0]*$/),
  );

/** One name for each class. */
export const names = () => allow('an array of names, one a class', z.array(z.string()).min(1));

/** @throws {DdpmError} `ERR_CONFIG` unless `value` is a path. */
export function requirePath(value: unknown, name: string): string {
  return parseOptions(path(), value, name);
}

/** Height and width from `size`, or from both of them. */
export function resolveSides(given: { size?: number; height?: number; width?: number }): Sides {
  const { size, height = size, width = size } = given;
  const doubled = size !== undefined && (given.height !== undefined || given.width !== undefined);
  if (doubled || height === undefined || width === undefined) {
    throw invalidOption('options', 'either size or both height and width', given);
  }
  return { height, width };
}
