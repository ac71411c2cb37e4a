/** What is told of the device that a model got. */

import type { NativeAddon } from './binding';
import { warnOnce } from './warn';

/**
 * Warns, once, where a build for CUDA computes on the CPU though nobody chose that: it works, but hardly as was meant.
 *
 * @param wanted The option `device`.
 */
export function tellOfFallback({ cudaProblem }: Pick<NativeAddon, 'cudaProblem'>, wanted: string): void {
  if (wanted !== 'auto' || cudaProblem === undefined) return;
  warnOnce(
    'DDPM_NO_CUDA_DEVICE',
    `device: 'auto' is the CPU, although this build of ddpm-node is one for CUDA: ${cudaProblem}; DDPM_VARIANT=cpu or ` +
      "device: 'cpu' says that this is meant",
  );
}
