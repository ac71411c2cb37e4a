import { integersOf } from '../tensor';
import { invalidOption } from './messages';
import type { ResolvedConfig } from './types';

/**
 * The class of each of n images; undefined for a model without classes.
 *
 * @throws {DdpmError} `ERR_CONFIG`: classes are missing, out of range, or given to a model that has none.
 */
export function labelsOf(classLabels: unknown, n: number, { unet }: ResolvedConfig): Int32Array | undefined {
  if (unet.classes > 0) return integersOf('classLabels', classLabels, n, unet.classes);
  if (classLabels === undefined) return undefined;
  throw invalidOption('classLabels', 'no value (the model has no classes: unet.classes is 0)', classLabels);
}
