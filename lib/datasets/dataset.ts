import type { NativePixelStore } from '../binding';
import { invalidOption } from '../config/messages';
import { callNative } from '../operation';

/** An image file, or a folder, that could not be read. */
export interface SkippedFile {
  /** Its path within the folder, with '/' between the parts, and behind that of a folder. */
  readonly file: string;
  /** Why it could not be read. */
  readonly reason: string;
}

/** One image of a {@link Dataset}. */
export interface DatasetImage {
  /** Levels 0 to 255, [H, W, C]; a copy. */
  data: Uint8Array;
  /** Its class; undefined in a data set without labels. */
  label: number | undefined;
}

/** What a {@link Dataset} is made of; all but the pixels may be missing. */
export interface DatasetParts {
  labels?: Int32Array;
  classNames?: readonly string[];
  sources?: readonly string[];
  skipped?: readonly SkippedFile[];
}

/** The native pixels of each data set, out of its users' sight. */
const natives = new WeakMap<Dataset, NativePixelStore>();

/**
 * The native pixels behind a data set. Internal: no part of the public face.
 *
 * @throws {DdpmError} `ERR_CONFIG`: the value is no data set of this package.
 */
export function pixelsOf(dataset: unknown): NativePixelStore {
  const pixels = natives.get(dataset as Dataset);
  if (pixels === undefined) {
    throw invalidOption('dataset', 'a Dataset, as made by imageFolder, fromPixels, cifar10 or mnist', dataset);
  }
  return pixels;
}

/**
 * Images of one size, as levels 0 to 255, that a model trains on; in memory or mapped from a file. Made by
 * `imageFolder`, `fromPixels`, `cifar10` and `mnist`, never changed afterwards.
 */
export class Dataset {
  /** Images. */
  readonly count: number;
  /** Pixels from top to bottom. */
  readonly height: number;
  /** Pixels from left to right. */
  readonly width: number;
  /** 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA. */
  readonly channels: number;
  /** The class of each image; undefined where the images have none. */
  readonly labels: Int32Array | undefined;
  /** The name of each class, by its label. */
  readonly classNames: readonly string[] | undefined;
  /** The file of each image, within its folder; undefined where an image is not a file. */
  readonly sources: readonly string[] | undefined;
  /** Files and folders that were left out because they could not be read. */
  readonly skipped: readonly SkippedFile[];

  /** Use `imageFolder`, `fromPixels`, `cifar10` or `mnist`. */
  constructor(pixels: NativePixelStore, { labels, classNames, sources, skipped = [] }: DatasetParts = {}) {
    natives.set(this, pixels);
    this.count = pixels.count;
    this.height = pixels.height;
    this.width = pixels.width;
    this.channels = pixels.channels;
    this.labels = labels;
    this.classNames = classNames;
    this.sources = sources;
    this.skipped = skipped;
  }

  /** How many classes the labels tell apart; 0 without labels. A model for them has `unet.classes` of at least this. */
  get classes(): number {
    if (this.labels === undefined) return 0;
    return this.classNames?.length ?? this.labels.reduce((largest, label) => Math.max(largest, label), 0) + 1;
  }

  /**
   * One image, to look at.
   *
   * @param index From 0.
   * @throws {DdpmError} `ERR_CONFIG`: there is no such image.
   */
  image(index: number): DatasetImage {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw invalidOption('index', `an integer from 0 to ${this.count - 1}`, index);
    }
    return { data: callNative(() => pixelsOf(this).read(index, 1)), label: this.labels?.[index] };
  }
}
