/** What is told of the device that a model got. */

import type { NativeAddon } from './binding';
import { warn } from './warn';

let told = false;

/**
 * Warns, once, where a build for CUDA computes on the CPU though nobody chose that: it works, but hardly as was meant.
 *
 * @param wanted The option `device`.
 * @param got The device in use.
 */
export function tellOfFallback({ variant }: Pick<NativeAddon, 'variant'>, wanted: string, got: string): void {
  if (told || variant !== 'cuda' || wanted !== 'auto' || got !== 'cpu') return;
  told = true;
  warn(
    'DDPM_NO_CUDA_DEVICE',
    'this build of ddpm-node is for CUDA, and no CUDA device can be used here (is there an NVIDIA driver?): models are on ' +
      "the CPU; DDPM_VARIANT=cpu or device: 'cpu' says that this is meant",
  );
}
