import { types } from 'node:util';
import { z } from 'zod';
import { pacer } from '../concurrency';
import { invalidOption } from '../config/messages';
import { abortSignal, allow, choice, integer, later, optionsWith, parseOptions } from '../config/schema';
import type { ClassLabels } from '../config/types';
import { DdpmError, throwIfAborted } from '../errors';
import { levelOf } from '../pixels';
import { integersOf } from '../tensor';
import { Dataset } from './dataset';
import { interleave } from './layout';
import { names, side } from './options';
import { append, createStore, type Shape } from './store';

/** How the numbers given to {@link fromPixels} are to be read. */
export interface FromPixelsOptions {
  /** Images. */
  count: number;
  /** Pixels from top to bottom, 1 to 8192. */
  height: number;
  /** Pixels from left to right, 1 to 8192. */
  width: number;
  /** Values a pixel, 1 to 4. */
  channels: number;
  /**
   * Order of the numbers: [count, height, width, channels] or [count, channels, height, width].
   * @defaultValue 'NHWC'
   */
  layout?: 'NHWC' | 'NCHW';
  /** One class for all images (a number), or one for each; from 0. */
  labels?: ClassLabels;
  /** The name of each class; all labels must be below their number. Goes with `labels` only. */
  classNames?: readonly string[];
  /** Stops the copying, with an AbortError. */
  signal?: AbortSignal;
}

/** Numbers that {@link fromPixels} takes: levels 0 to 255, or floats in [−1, 1]. */
export type Pixels = Uint8Array | Uint8ClampedArray | Float32Array;

const DEFAULT_LAYOUT = 'NHWC';
const LARGEST_LABEL = 2 ** 31 - 1;
const COPY_BYTES = 1 << 20;

const schema = optionsWith(
  { count: integer(1), height: side(), width: side(), channels: integer(1, 4) },
  {
    layout: choice(['NHWC', 'NCHW']),
    labels: later<ClassLabels>(),
    classNames: names(),
    signal: abortSignal(),
  },
);

const dataSchema = allow(
  'a Uint8Array, Uint8ClampedArray or Float32Array',
  z.custom<Pixels>(
    (value) => types.isUint8Array(value) || types.isUint8ClampedArray(value) || types.isFloat32Array(value),
  ),
);

/**
 * A data set in memory from numbers: levels 0 to 255 as they are, or floats x in [−1, 1], which become the levels
 * round((x + 1) · 127.5). The numbers are copied; they must not change until the promise resolves.
 *
 * @throws {DdpmError} `ERR_CONFIG`: an option is wrong, or does not go with the length of the data. `ERR_DATASET`: a
 *   float is NaN or out of range; the message names the image.
 */
export async function fromPixels(data: Pixels, options: FromPixelsOptions): Promise<Dataset> {
  const numbers = parseOptions(dataSchema, data, 'data');
  const { count, signal, layout = DEFAULT_LAYOUT, classNames, ...given } = parseOptions(schema, options, 'options');
  const shape: Shape = { height: given.height, width: given.width, channels: given.channels };
  const size = shape.height * shape.width * shape.channels;
  if (numbers.length !== count * size) {
    const sides = `${shape.height}×${shape.width}×${shape.channels}`;
    throw invalidOption('data.length', `${count * size} (${count} images of ${sides})`, numbers.length);
  }
  const labels = labelsFrom(given.labels, classNames, count);
  throwIfAborted(signal);

  const store = createStore(shape);
  const pause = pacer();
  for (const levels of levelsOf(numbers, layout, shape)) {
    append(store, levels);
    await pause();
    throwIfAborted(signal);
  }
  return new Dataset(store, { labels, classNames });
}

function labelsFrom(labels: unknown, classNames: readonly string[] | undefined, count: number): Int32Array | undefined {
  if (labels !== undefined) return integersOf('labels', labels, count, classNames?.length ?? LARGEST_LABEL + 1);
  if (classNames === undefined) return undefined;
  throw invalidOption('classNames', 'no value (there are no labels)', classNames);
}

/** The levels, image after image, in pieces of whole images that are only good until the next. */
function* levelsOf(numbers: Pixels, layout: 'NHWC' | 'NCHW', shape: Shape): Generator<Uint8Array> {
  const size = shape.height * shape.width * shape.channels;
  const planar = layout === 'NCHW' && shape.channels > 1;
  if (!types.isFloat32Array(numbers) && !planar) {
    const levels = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.length);
    const piece = size * Math.max(1, Math.floor(COPY_BYTES / size));
    for (let start = 0; start < levels.length; start += piece) yield levels.subarray(start, start + piece);
    return;
  }
  const image = new Uint8Array(size);
  for (let start = 0; start < numbers.length; start += size) {
    const piece = numbers.subarray(start, start + size);
    const levels = types.isFloat32Array(piece) ? quantise(piece, start / size) : piece;
    if (planar) interleave(levels, image, shape.channels);
    yield planar ? image : (levels as Uint8Array);
  }
}

/** [−1, 1] to levels. */
function quantise(floats: Float32Array, index: number): Uint8Array {
  const levels = new Uint8Array(floats.length);
  for (let i = 0; i < floats.length; i++) {
    const x = floats[i];
    if (!(x >= -1 && x <= 1)) {
      throw new DdpmError(
        'ERR_DATASET',
        `Image ${index}: expected floats from -1 to 1, got ${x} at element ${i} of it`,
      );
    }
    levels[i] = levelOf(x);
  }
  return levels;
}
