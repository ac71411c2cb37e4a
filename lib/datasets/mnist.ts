import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { pacer } from '../concurrency';
import { invalidOption } from '../config/messages';
import { abortSignal, type Fields, flag, integer, options, parseOptions, withDefaults } from '../config/schema';
import { DdpmError, throwIfAborted } from '../errors';
import { Dataset } from './dataset';
import { isFolder, readWhole, unreadable } from './files';
import { MAX_SIDE, names, path, requirePath } from './options';
import { append, createStore } from './store';

/** Options of {@link mnist}. */
export interface MnistOptions {
  /**
   * Of a folder: the training images (true, `train-images-idx3-ubyte`) or the test images (false,
   * `t10k-images-idx3-ubyte`). Not for a file given by name.
   * @defaultValue true
   */
  train?: boolean;
  /** The file of labels; left out, the one beside the images with their name, `images-idx3` being `labels-idx1`. */
  labels?: string;
  /** The name of each class. Left out, the ten digits. */
  classNames?: readonly string[];
  /**
   * Black pixels to add on each side, 0 to 1024: 2 makes 28×28 images 32×32.
   * @defaultValue 0
   */
  pad?: number;
  /** Stops the reading, with an AbortError. */
  signal?: AbortSignal;
}

const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
/** "Unsigned byte" and the number of dimensions. */
const IMAGES_MAGIC = 0x0803;
const LABELS_MAGIC = 0x0801;
const GZIP_MAGIC = 0x1f8b;

const defaults = { train: true, pad: 0 };

const schema = options({
  train: flag(),
  labels: path(),
  classNames: names(),
  pad: integer(0, 1024),
  signal: abortSignal(),
} satisfies Fields<MnistOptions>);

/**
 * MNIST, or any set in its IDX format, gzipped or not: grey images, with labels where there is a file of them.
 *
 * @param location The folder with the files under their published names, or the file of images.
 * @throws {DdpmError} `ERR_DATASET`: a file is missing, is no IDX file of its kind, has not the length that its header
 *   tells, or holds a label without a class. `ERR_CONFIG`: an option is wrong.
 */
export async function mnist(location: string, options: MnistOptions = {}): Promise<Dataset> {
  const place = requirePath(location, 'location');
  const { signal, classNames = DIGITS, labels: labelsPath, ...given } = parseOptions(schema, options, 'options');
  const { pad } = withDefaults({ pad: given.pad }, defaults);
  throwIfAborted(signal);
  const file = await imagesFile(place, given.train);

  const images = await readIdx(file, IMAGES_MAGIC, 'images');
  const [count, height, width] = images.dimensions;
  const shape = { height: height + 2 * pad, width: width + 2 * pad, channels: 1 };
  if (count === 0 || height === 0 || width === 0 || shape.height > MAX_SIDE || shape.width > MAX_SIDE) {
    const expected = `at least one image, of sides from 1 to ${MAX_SIDE} with their padding`;
    throw new DdpmError('ERR_DATASET', `'${file}': expected ${expected}, got ${count} of ${height}×${width}`);
  }
  const labelsFile = labelsPath ?? (await labelsBeside(file));
  const labels = labelsFile === undefined ? undefined : await readLabels(labelsFile, count, classNames.length);
  if (labels === undefined && options.classNames !== undefined) {
    throw invalidOption('classNames', 'no value (there is no file of labels)', options.classNames);
  }

  const store = createStore(shape);
  const framed = new Uint8Array(shape.height * shape.width);
  const pause = pacer();
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < height; y++) {
      const start = (i * height + y) * width;
      framed.set(images.data.subarray(start, start + width), (y + pad) * shape.width + pad);
    }
    append(store, framed);
    await pause();
    throwIfAborted(signal);
  }
  return new Dataset(store, labels && { labels, classNames });
}

async function imagesFile(place: string, train: boolean | undefined): Promise<string> {
  if (!(await isFolder(place))) {
    if (train !== undefined) throw invalidOption('train', 'no value (the file is given by name)', train);
    return place;
  }
  const prefix = withDefaults({ train }, defaults).train ? 'train' : 't10k';
  // Some copies of the files have a dot where the published names have a dash.
  const wanted = new RegExp(`^${prefix}-images[-.]idx3-ubyte(\\.gz)?$`);
  const [found] = (await readdir(place)).filter((name) => wanted.test(name)).sort();
  if (found !== undefined) return join(place, found);
  throw new DdpmError(
    'ERR_DATASET',
    `'${place}': expected ${prefix}-images-idx3-ubyte, or the same with .gz; found neither`,
  );
}

/** The file of labels that goes by its name with a file of images, gzipped or not whatever the images are. */
async function labelsBeside(file: string): Promise<string | undefined> {
  const name = basename(file).replace(/\.gz$/, '').replace('images', 'labels').replace('idx3', 'idx1');
  if (name === basename(file).replace(/\.gz$/, '')) return undefined;
  const present = new Set(await readdir(dirname(file)));
  const found = [name, `${name}.gz`].find((candidate) => present.has(candidate));
  return found && join(dirname(file), found);
}

async function readLabels(file: string, count: number, classes: number): Promise<Int32Array> {
  const { dimensions, data } = await readIdx(file, LABELS_MAGIC, 'labels');
  if (dimensions[0] !== count) {
    throw new DdpmError('ERR_DATASET', `'${file}': expected ${count} labels, one an image, got ${dimensions[0]}`);
  }
  const wrong = data.findIndex((label) => label >= classes);
  if (wrong >= 0) {
    const expected = `labels from 0 to ${classes - 1}`;
    throw new DdpmError('ERR_DATASET', `'${file}': expected ${expected}, got ${data[wrong]} for image ${wrong}`);
  }
  return Int32Array.from(data);
}

/** An IDX file: the magic number, whose last byte is the number of dimensions; the dimensions, big-endian; the bytes. */
async function readIdx(file: string, magic: number, kind: string): Promise<{ dimensions: number[]; data: Uint8Array }> {
  const stored = await readWhole(file);
  const zipped = stored.length >= 2 && stored.readUInt16BE() === GZIP_MAGIC;
  const bytes = zipped
    ? await promisify(gunzip)(stored).catch((error) => {
        throw unreadable(file, error);
      })
    : stored;

  const ranks = magic & 0xff;
  const headerBytes = 4 + 4 * ranks;
  const found = bytes.length >= headerBytes ? bytes.readUInt32BE() : undefined;
  if (found !== magic) {
    const got = found === undefined ? `${bytes.length} bytes` : hexadecimal(found);
    throw new DdpmError(
      'ERR_DATASET',
      `'${file}': expected an IDX file of ${kind} (${hexadecimal(magic)}), got ${got}`,
    );
  }
  const dimensions = Array.from({ length: ranks }, (_, i) => bytes.readUInt32BE(4 + 4 * i));
  const length = headerBytes + dimensions.reduce((product, dimension) => product * dimension);
  if (bytes.length !== length) {
    const expected = `${length} bytes for ${kind} of ${dimensions.join('×')}`;
    throw new DdpmError('ERR_DATASET', `'${file}': expected ${expected}, got ${bytes.length}`);
  }
  return { dimensions, data: bytes.subarray(headerBytes) };
}

function hexadecimal(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
