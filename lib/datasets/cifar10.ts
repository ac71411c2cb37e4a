import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { pacer } from '../concurrency';
import { invalidOption } from '../config/messages';
import { abortSignal, allow, type Fields, flag, options, parseOptions, withDefaults } from '../config/schema';
import { DdpmError, throwIfAborted } from '../errors';
import { Dataset } from './dataset';
import { isFolder, readWhole } from './files';
import { interleave } from './layout';
import { path } from './options';
import { append, createStore } from './store';

/** Options of {@link cifar10}. */
export interface Cifar10Options {
  /**
   * Of a folder: the training images (true, `data_batch_*.bin`) or the test images (false, `test_batch.bin`). Not for
   * files given by name.
   * @defaultValue true
   */
  train?: boolean;
  /** Stops the reading, with an AbortError. */
  signal?: AbortSignal;
}

const SHAPE = { height: 32, width: 32, channels: 3 };
const IMAGE_BYTES = 32 * 32 * 3;
/** One byte of label, then the planes of red, green and blue. */
const RECORD_BYTES = 1 + IMAGE_BYTES;
const CLASS_NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
/** The folder that the published archive unpacks to. */
const ARCHIVE_FOLDER = 'cifar-10-batches-bin';

const defaults = { train: true };

const schema = options({ train: flag(), signal: abortSignal() } satisfies Fields<Cifar10Options>);

const pathsSchema = allow(
  'a folder, a .bin file, or an array of .bin files',
  z.union([path(), z.array(path()).min(1)]),
);

/**
 * CIFAR-10 in its binary version: 32×32 RGB images with labels 0 to 9. Class names are those of `batches.meta.txt`
 * beside the images, else the ten that are known.
 *
 * @param location The folder with the batches (or the one that the published archive was unpacked in), one `.bin` file,
 *   or a list of them, read in that order.
 * @throws {DdpmError} `ERR_DATASET`: a file is missing, is no whole number of 3073-byte records, or holds a label above
 *   9. `ERR_CONFIG`: an option is wrong.
 */
export async function cifar10(location: string | readonly string[], options: Cifar10Options = {}): Promise<Dataset> {
  const paths = parseOptions(pathsSchema, location, 'location');
  const { signal, ...given } = parseOptions(schema, options, 'options');
  throwIfAborted(signal);
  const files = await batchFiles(paths, given.train);

  const store = createStore(SHAPE);
  const labels: Int32Array[] = [];
  const image = new Uint8Array(IMAGE_BYTES);
  const pause = pacer();
  for (const file of files) {
    const bytes = await readBatch(file);
    const count = bytes.length / RECORD_BYTES;
    const batchLabels = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      const record = bytes.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES);
      if (record[0] >= CLASS_NAMES.length) {
        throw new DdpmError('ERR_DATASET', `'${file}': expected labels from 0 to 9, got ${record[0]} for image ${i}`);
      }
      batchLabels[i] = record[0];
      interleave(record.subarray(1), image, SHAPE.channels);
      append(store, image);
      await pause();
      throwIfAborted(signal);
    }
    labels.push(batchLabels);
  }
  return new Dataset(store, { labels: concatenate(labels), classNames: await classNames(dirname(files[0])) });
}

async function batchFiles(paths: string | string[], train: boolean | undefined): Promise<string[]> {
  const folder = typeof paths === 'string' && (await isFolder(paths)) ? paths : undefined;
  if (folder !== undefined) return folderBatches(folder, withDefaults({ train }, defaults).train);
  if (train !== undefined) throw invalidOption('train', 'no value (the files are given by name)', train);
  return typeof paths === 'string' ? [paths] : paths;
}

async function folderBatches(folder: string, train: boolean): Promise<string[]> {
  const wanted = train ? /^data_batch_.+\.bin$/ : /^test_batch\.bin$/;
  const entries = await readdir(folder);
  const batches = entries.filter((name) => wanted.test(name)).sort();
  if (batches.length > 0) return batches.map((name) => join(folder, name));
  const isArchive = basename(folder) === ARCHIVE_FOLDER;
  if (!isArchive && entries.includes(ARCHIVE_FOLDER)) return folderBatches(join(folder, ARCHIVE_FOLDER), train);
  const expected = train ? 'data_batch_1.bin to data_batch_5.bin' : 'test_batch.bin';
  throw new DdpmError('ERR_DATASET', `'${folder}': expected ${expected} of CIFAR-10's binary version, found none`);
}

async function readBatch(file: string): Promise<Buffer> {
  const bytes = await readWhole(file);
  if (bytes.length === 0 || bytes.length % RECORD_BYTES !== 0) {
    const expected = `expected a whole number of records of ${RECORD_BYTES} bytes (CIFAR-10's binary version)`;
    throw new DdpmError('ERR_DATASET', `'${file}': ${expected}, got ${bytes.length} bytes`);
  }
  return bytes;
}

async function classNames(folder: string): Promise<string[]> {
  const text = await readFile(join(folder, 'batches.meta.txt'), 'utf8').catch(() => '');
  const names = text.split(/\s+/).filter((name) => name !== '');
  return names.length === CLASS_NAMES.length ? names : CLASS_NAMES;
}

function concatenate(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
