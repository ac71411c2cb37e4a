import { type Dataset, fromPixels } from '../../lib';
import { uniforms } from './numbers';

/** Grey 8×8 images of random levels. */
export function randomImages(count: number, seed = 1): Promise<Dataset> {
  const uniform = uniforms(seed);
  const levels = Uint8Array.from({ length: count * 8 * 8 }, () => Math.floor(256 * uniform()));
  return fromPixels(levels, { count, height: 8, width: 8, channels: 1 });
}
