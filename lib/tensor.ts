/** Arrays of numbers that come from users, checked for shape and given the form that the native side takes. */
import { types } from 'node:util';
import { invalidOption } from './config/messages';

/** Numbers with a shape: `data` holds them row by row, the last dimension running fastest. */
export type Tensor = { data: Float32Array; shape: number[] };

/** Images as [n, C, H, W]: a bare Float32Array, whose length gives n, or one with its shape. */
export type TensorLike = Float32Array | { readonly data: Float32Array; readonly shape: readonly number[] };

/** One timestep for all images (a number), or one for each; 0 ≤ t < T. */
export type Timesteps = number | readonly number[] | Int32Array;

/** Images that the native side takes. */
export interface ImageTensor {
  /** [count, C, H, W], the caller's own memory. */
  data: Float32Array;
  count: number;
}

/**
 * Checks the shape, and only the shape, of images.
 *
 * @param path What messages call them.
 * @param image Their height, width and channels.
 * @param count How many there must be; any number from 1 on if left out.
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function imagesOf(
  path: string,
  value: unknown,
  image: { height: number; width: number; channels: number },
  count?: number,
): ImageTensor {
  const dimensions = [image.channels, image.height, image.width];
  const size = dimensions.reduce((product, dimension) => product * dimension);
  const shapeText = `[${[count ?? 'n', ...dimensions].join(', ')}]`;

  if (types.isFloat32Array(value)) {
    const found = value.length / size;
    const right = count === undefined ? Number.isInteger(found) && found >= 1 : found === count;
    if (right) return { data: value, count: found };
    const length = count === undefined ? `a multiple of ${size}` : `${count * size}`;
    throw invalidOption(`${path}.length`, `${length} (shape ${shapeText})`, value.length);
  }

  const { data, shape } = Object(value) as { data?: unknown; shape?: unknown };
  if (!types.isFloat32Array(data) || !Array.isArray(shape)) {
    throw invalidOption(path, `a Float32Array or { data: Float32Array, shape } of shape ${shapeText}`, value);
  }
  const [found, ...rest] = shape as unknown[];
  const whole = typeof found === 'number' && Number.isSafeInteger(found) && found >= 1;
  const fits = rest.length === 3 && rest.every((dimension, i) => dimension === dimensions[i]);
  if (!whole || !fits || (count !== undefined && found !== count)) {
    throw invalidOption(`${path}.shape`, shapeText, shape);
  }
  if (data.length !== found * size) throw invalidOption(`${path}.data.length`, `${found * size}`, data.length);
  return { data, count: found };
}

/**
 * One timestep for each image.
 *
 * @param n Number of images.
 * @param timesteps T, the length of the chain.
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function timestepsOf(t: unknown, n: number, timesteps: number): Int32Array {
  return integersOf('t', t, n, timesteps);
}

/**
 * One integer for each of n images, from one for all of them or an array.
 *
 * @param path What messages call it.
 * @param end All must be from 0 to `end − 1`.
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function integersOf(path: string, value: unknown, n: number, end: number): Int32Array {
  const one = `an integer from 0 to ${end - 1}`;
  const inRange = (item: unknown) => Number.isInteger(item) && (item as number) >= 0 && (item as number) < end;
  if (inRange(value)) return new Int32Array(n).fill(value as number);
  const list = Array.isArray(value) || types.isInt32Array(value) ? (value as ArrayLike<unknown>) : undefined;
  if (list?.length !== n) throw invalidOption(path, `${one}, or an array of ${n} of them (one an image)`, value);
  return Int32Array.from(list, (item, i) => {
    if (!inRange(item)) throw invalidOption(`${path}[${i}]`, one, item);
    return item as number;
  });
}
