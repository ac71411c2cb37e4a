/** Pixels in another order, or all alike. */

/** [C, H, W] to [H, W, C]. */
export function interleave(planes: ArrayLike<number>, pixels: Uint8Array, channels: number): void {
  const plane = planes.length / channels;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) pixels[i * channels + c] = planes[c * plane + i];
  }
}

/** Repeats some values over a whole array. */
export function fillWith(data: Uint8Array | Float32Array, values: readonly number[]): void {
  data.set(values);
  for (let filled = values.length; filled < data.length; filled *= 2) data.copyWithin(filled, 0, filled);
}
