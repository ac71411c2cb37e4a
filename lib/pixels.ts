/**
 * Levels 0 to 255 and the model's space, x = v / 127.5 − 1, in float32 step by step as native/diffusion/pixels.cc has it:
 * floats of `sample()` become the same levels here and there.
 */

/** The level nearest to x, which must be a number; what is beyond −1 or 1 becomes the end. */
export function levelOf(x: number): number {
  return Math.min(Math.max(Math.round(Math.fround(Math.fround(x + 1) * 127.5)), 0), 255);
}

/** The float of a level. */
export function floatOf(level: number): number {
  return Math.fround(Math.fround(level / 127.5) - 1);
}
