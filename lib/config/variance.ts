import { invalidOption } from './messages';
import type { ResolvedConfig } from './types';

/**
 * Refuses a learned variance where this version has only fixed ones.
 *
 * @param work What cannot be done: 'training' or 'sampling'.
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function requireFixedVariance({ diffusion }: ResolvedConfig, work: 'training' | 'sampling'): void {
  if (diffusion.varianceType !== 'learned_range') return;
  throw invalidOption(
    'diffusion.varianceType',
    `'fixed_large' or 'fixed_small' (this version does not support ${work} with a learned variance)`,
    diffusion.varianceType,
  );
}
