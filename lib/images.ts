/** Sampled pictures: their values, and their way into files. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { types } from 'node:util';
import sharp, { type Sharp } from 'sharp';
import { z } from 'zod';
import { mapOrdered, pacer } from './concurrency';
import { invalidOption } from './config/messages';
import { allow, integer, later, options, optionsWith, parseOptions, withDefaults } from './config/schema';
import { colour, colourLevels } from './datasets/colour';
import { fillWith } from './datasets/layout';
import { path } from './datasets/options';
import { DdpmError } from './errors';
import { writeFileAtomic } from './files/atomic';
import { makeFolderFor } from './files/folders';
import { floatOf, levelOf } from './pixels';

/** What {@link Images} are made of. */
export interface ImagesContents {
  /** Levels 0 to 255 as [count, height, width, channels], or floats in [−1, 1] as [count, channels, height, width]. */
  data: Uint8Array | Float32Array;
  /** Images, at least 1. */
  count: number;
  /** Pixels from top to bottom. */
  height: number;
  /** Pixels from left to right. */
  width: number;
  /** 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA. */
  channels: number;
  /** What the images were drawn from, where they were sampled. */
  seed?: number;
}

/** How {@link Images.grid} lays out the images. */
export interface GridOptions {
  /** Images in a row. Left out, the least number that leaves no more rows than columns. */
  columns?: number;
  /**
   * Pixels between neighbours and along the edges, 0 to 1024.
   * @defaultValue 2
   */
  padding?: number;
  /**
   * The colour between the images, '#rgb' or '#rrggbb'.
   * @defaultValue '#ffffff'
   */
  background?: string;
}

const gridDefaults = { padding: 2, background: '#ffffff' };
const gridSchema = options({ columns: integer(1), padding: integer(0, 1024), background: colour() });

const contentsSchema = optionsWith(
  { data: later<unknown>(), count: integer(1), height: integer(1), width: integer(1), channels: integer(1, 4) },
  { seed: allow('a number', z.number()) },
);

/** File formats, by suffix. Those that can keep every level do; what cannot keep transparency is laid over white. */
const FORMATS: Record<string, (image: Sharp) => Sharp> = {
  '.png': (image) => image.png(),
  '.jpg': (image) => image.flatten({ background: '#ffffff' }).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }),
  '.webp': (image) => image.webp({ lossless: true, exact: true }),
  '.avif': (image) => image.avif({ quality: 90, chromaSubsampling: '4:4:4' }),
  '.tif': (image) => image.tiff({ compression: 'deflate', predictor: 'none' }),
};
FORMATS['.jpeg'] = FORMATS['.jpg'];
FORMATS['.tiff'] = FORMATS['.tif'];

/** What stands for an image's number in a file name. */
const INDEX = '{index}';

/** Pictures of one size, as `sample()` returns them. */
export class Images implements Iterable<Images> {
  /** Levels 0 to 255 as [count, height, width, channels], or floats in [−1, 1] as [count, channels, height, width]. */
  readonly data: Uint8Array | Float32Array;
  /** Images. */
  readonly count: number;
  /** Pixels from top to bottom. */
  readonly height: number;
  /** Pixels from left to right. */
  readonly width: number;
  /** 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA. */
  readonly channels: number;
  /** What the images were drawn from; undefined where they were not sampled. */
  readonly seed: number | undefined;

  /**
   * Images over values that are used in place, not copied.
   *
   * @throws {DdpmError} `ERR_CONFIG`: a field is wrong, or does not go with the length of the data.
   */
  constructor(contents: ImagesContents) {
    const { data, count, height, width, channels, seed } = parseOptions(contentsSchema, contents, 'images');
    if (!types.isUint8Array(data) && !types.isFloat32Array(data)) {
      throw invalidOption('data', 'a Uint8Array or a Float32Array', data);
    }
    const length = count * height * width * channels;
    if (data.length !== length) {
      throw invalidOption('data.length', `${length} (${count} images of ${height}×${width}×${channels})`, data.length);
    }
    this.data = data;
    this.count = count;
    this.height = height;
    this.width = width;
    this.channels = channels;
    this.seed = seed;
  }

  /**
   * One of the images, over the same memory.
   *
   * @param index From 0.
   * @throws {DdpmError} `ERR_CONFIG`: there is no such image.
   */
  at(index: number): Images {
    const { height, width, channels, seed } = this;
    return new Images({ data: this.#values(index), count: 1, height, width, channels, seed });
  }

  /** Each of the images, over the same memory. */
  *[Symbol.iterator](): IterableIterator<Images> {
    for (let index = 0; index < this.count; index++) yield this.at(index);
  }

  /**
   * One of the images as a PNG file that holds exactly its levels; floats become levels by rounding and clamping
   * (x + 1) · 127.5.
   *
   * @param index From 0; left out, the first.
   * @throws {DdpmError} `ERR_CONFIG`: there is no such image. `ERR_NON_FINITE`: it holds a NaN or an infinity.
   */
  async png(index = 0): Promise<Buffer> {
    return this.#encode(index, FORMATS['.png']);
  }

  /**
   * Writes each image to a file: .png, .webp and .tif keep every level, .jpg and .avif nearly. Folders are made where
   * they are missing. A file is complete as soon as it has its name.
   *
   * @param pattern The file name, in which `{index}` stands for the number of the image, from 0 and with as many digits
   *   as the last one has. A single image may do without it.
   * @returns The names of the files, in the order of the images.
   * @throws {DdpmError} `ERR_CONFIG`: the pattern has no `{index}` for several images, or no suffix of a known format.
   *   `ERR_NON_FINITE`: an image holds a NaN or an infinity. `ERR_IO`: a file cannot be written.
   */
  async save(pattern: string): Promise<string[]> {
    const name = parseOptions(path(), pattern, 'pattern');
    const format = FORMATS[extname(name).toLowerCase()];
    if (format === undefined) {
      throw invalidOption('pattern', `a file name that ends in ${Object.keys(FORMATS).join(', ')}`, name);
    }
    if (this.count > 1 && !name.includes(INDEX)) {
      throw invalidOption('pattern', `a file name with ${INDEX} in it for ${this.count} images`, name);
    }
    const digits = String(this.count - 1).length;
    const indices = Array.from({ length: this.count }, (_, index) => index);
    const files: string[] = [];
    const writeOne = async (index: number) => {
      const file = name.replaceAll(INDEX, String(index).padStart(digits, '0'));
      const bytes = await this.#encode(index, format);
      await makeFolderFor(file);
      await writeFileAtomic(file, (handle) => handle.writeFile(bytes));
      return file;
    };
    for await (const file of mapOrdered(indices, availableParallelism(), writeOne)) files.push(file);
    return files;
  }

  /**
   * All images side by side, row by row, as one image.
   *
   * @throws {DdpmError} `ERR_CONFIG`: an option is wrong.
   */
  grid(options: GridOptions = {}): Images {
    const { columns: given, ...rest } = parseOptions(gridSchema, options, 'options');
    const { padding, background } = withDefaults(rest, gridDefaults);
    const columns = Math.min(given ?? Math.ceil(Math.sqrt(this.count)), this.count);
    const rows = Math.ceil(this.count / columns);
    const height = rows * (this.height + padding) + padding;
    const width = columns * (this.width + padding) + padding;
    const levels = colourLevels(background, this.channels);

    // Levels are one plane of pixels; floats are a plane for each channel.
    const floats = types.isFloat32Array(this.data);
    const planes = floats ? this.channels : 1;
    const values = floats ? 1 : this.channels;
    const length = height * width * this.channels;
    const data = floats ? new Float32Array(length) : new Uint8Array(length);
    for (let plane = 0; plane < planes; plane++) {
      const start = plane * height * width;
      if (floats) data.fill(floatOf(levels[plane]), start, start + height * width);
      else fillWith(data, levels);
      for (let index = 0; index < this.count; index++) {
        const top = padding + Math.floor(index / columns) * (this.height + padding);
        const left = padding + (index % columns) * (this.width + padding);
        for (let y = 0; y < this.height; y++) {
          const from = ((index * planes + plane) * this.height + y) * this.width * values;
          data.set(this.data.subarray(from, from + this.width * values), start + ((top + y) * width + left) * values);
        }
      }
    }
    return new Images({ data, count: 1, height, width, channels: this.channels, seed: this.seed });
  }

  #values(index: number): Uint8Array | Float32Array {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw invalidOption('index', `an integer from 0 to ${this.count - 1}`, index);
    }
    const size = this.height * this.width * this.channels;
    return this.data.subarray(index * size, (index + 1) * size);
  }

  async #encode(index: number, format: (image: Sharp) => Sharp): Promise<Buffer> {
    const { height, width, channels } = this;
    const levels = await this.#levels(index);
    const image = sharp(levels, { raw: { height, width, channels: channels as 1 | 2 | 3 | 4 } });
    // Else sharp writes grey as RGB.
    return format(channels < 3 ? image.toColourspace('b-w') : image).toBuffer();
  }

  /** [H, W, C]. */
  async #levels(index: number): Promise<Uint8Array> {
    const values = this.#values(index);
    if (types.isUint8Array(values)) return values;
    const { height, width, channels } = this;
    const levels = new Uint8Array(values.length);
    const pause = pacer();
    for (let row = 0; row < channels * height; row++) {
      const c = Math.floor(row / height);
      const y = row % height;
      for (let x = 0; x < width; x++) {
        const value = values[row * width + x];
        if (!Number.isFinite(value)) {
          const where = `image ${index} has ${value} at row ${y}, column ${x}, channel ${c}`;
          throw new DdpmError('ERR_NON_FINITE', `Cannot make a picture: ${where}`);
        }
        levels[(y * width + x) * channels + c] = levelOf(value);
      }
      await pause();
    }
    return levels;
  }
}
