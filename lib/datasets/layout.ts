/** Pixels of one image in another order. */

/** [C, H, W] to [H, W, C]. */
export function interleave(planes: ArrayLike<number>, pixels: Uint8Array, channels: number): void {
  const plane = planes.length / channels;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) pixels[i * channels + c] = planes[c * plane + i];
  }
}
