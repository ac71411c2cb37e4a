import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { mapOrdered, pacer } from '../concurrency';
import { invalidOption } from '../config/messages';
import {
  abortSignal,
  allow,
  callback,
  choice,
  type Fields,
  flag,
  integer,
  options,
  parseOptions,
  withDefaults,
} from '../config/schema';
import { AbortError, DdpmError, throwIfAborted } from '../errors';
import { type Answer, guard } from '../guard';
import { colour } from './colour';
import { Dataset, type SkippedFile } from './dataset';
import { decodePicture, type Fit, readPicture, type Target } from './decode';
import { isFolder, mayPass, reasonOf } from './files';
import { imageSuffixes, listImages } from './listing';
import { path, requirePath, resolveSides, side } from './options';
import { type Findings, hashOf, openCache, originOf, writeCache } from './pixelCache';
import { append, createStore, type Decoded, type UnreadFile } from './store';

/** Options of {@link imageFolder}: either `size`, or both `height` and `width`, must be there. */
export interface ImageFolderOptions {
  /** Height and width of the images in pixels, 1 to 8192. */
  size?: number;
  /** Height of the images in pixels, 1 to 8192. */
  height?: number;
  /** Width of the images in pixels, 1 to 8192. */
  width?: number;
  /**
   * 1: grey (luminance); 3: RGB; 4: RGBA.
   * @defaultValue 3
   */
  channels?: 1 | 3 | 4;
  /**
   * Whether the sub-folders that hold images are classes, numbered from 0 in the order of their names (by code units).
   * @defaultValue false
   */
  classes?: boolean;
  /**
   * Whether to look into sub-folders; with `classes`, into those of the class folders.
   * @defaultValue true
   */
  recursive?: boolean;
  /**
   * Whether to take a file, by its path within the folder, with '/' between the parts: true or false, or a promise of
   * either, which is waited for. Anything else is refused. A folder that cannot be read is asked for too, with '/' at the
   * end; one that is not taken is left out with a warning. Left out, all are taken.
   */
  filter?: (file: string) => boolean | Promise<boolean>;
  /**
   * How a picture of other proportions is fitted: 'cover' scales it until its shorter side fits and cuts off the ends of
   * the longer, alike on both sides; 'contain' shows all of it between bars; 'fill' stretches it. Lanczos3 where it gets
   * smaller, bicubic where it gets larger.
   * @defaultValue 'cover'
   */
  fit?: Fit;
  /**
   * The colour behind transparent parts and of bars, '#rgb' or '#rrggbb'. Not for 4 channels, which keep their
   * transparency and have transparent bars.
   * @defaultValue '#ffffff'
   */
  background?: string;
  /**
   * What to do about files and folders that cannot be read: fail, naming all of them, or go on without and list them in
   * `skipped`.
   * @defaultValue 'error'
   */
  onUnreadable?: 'error' | 'skip';
  /**
   * A file that keeps the decoded pixels, and that the data set is then mapped from, so that it may be larger than
   * memory. The next call with the same files and options decodes nothing: the folder's own path and each file's name,
   * number (inode), size and times must be as they were, and where these cannot tell, its contents. Left out, the pixels are in
   * memory.
   */
  cacheFile?: string;
  /** Files that are decoded at once, 1 to 1024. Left out, as many as there are processor cores. */
  concurrency?: number;
  /**
   * Called as files are done with, in their order. A promise of it is waited for before the reading goes on; what it
   * throws, or rejects with, is the call's rejection.
   */
  onProgress?: (progress: ImageFolderProgress) => void;
  /** Stops the reading within a few files, with an AbortError. */
  signal?: AbortSignal;
}

/** How far {@link imageFolder} is. */
export interface ImageFolderProgress {
  /** Files that are decoded, or found unreadable. */
  done: number;
  /** Files in all. */
  total: number;
}

const defaults: Required<
  Pick<ImageFolderOptions, 'channels' | 'classes' | 'recursive' | 'fit' | 'background' | 'onUnreadable'>
> = {
  channels: 3,
  classes: false,
  recursive: true,
  fit: 'cover',
  background: '#ffffff',
  onUnreadable: 'error',
};

const schema = options({
  size: side(),
  height: side(),
  width: side(),
  channels: allow('1, 3 or 4', z.union([z.literal(1), z.literal(3), z.literal(4)])),
  classes: flag(),
  recursive: flag(),
  filter: callback<NonNullable<ImageFolderOptions['filter']>>(),
  fit: choice(['cover', 'contain', 'fill']),
  background: colour(),
  onUnreadable: choice(['error', 'skip']),
  cacheFile: path(),
  concurrency: integer(1, 1024),
  onProgress: callback<(progress: ImageFolderProgress) => void>(),
  signal: abortSignal(),
} satisfies Fields<ImageFolderOptions>);

const TAKEN_OR_NOT: Answer<boolean> = {
  name: 'filter',
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
};

/** How many files an error names. */
const NAMED_FILES = 20;

/** How many names are looked at before other work may get its turn. */
const FILES_A_TURN = 1024;

/**
 * A data set from the pictures in a folder: everything that sharp decodes, vector pictures drawn at the size asked for.
 *
 * Of each file the first frame is taken, upright as its EXIF orientation tells, in sRGB, whole numbers scaled to levels by
 * their full range and floats from 0 to 1. Hidden files and folders, and files without the suffix of a picture (in
 * whatever case), are passed over; links are followed. Images are in the order of their paths within the folder, by code
 * units.
 *
 * @throws {DdpmError} `ERR_DATASET`: the folder is missing or has no images, or files or folders cannot be read (empty,
 *   damaged or cut-short files included, and those of a form that is not read). `ERR_CONFIG`: an option is wrong, or the filter
 *   gives something else than true or false. `ERR_IO`: the cache cannot be read or written, or too many files are open.
 */
export async function imageFolder(folder: string, options: ImageFolderOptions): Promise<Dataset> {
  const root = requirePath(folder, 'folder');
  const { target, classes, recursive, filter, onUnreadable, cacheFile, concurrency, onProgress, signal } =
    resolveOptions(options);
  throwIfAborted(signal);
  if (!(await isFolder(root))) throw new DdpmError('ERR_DATASET', `Cannot read '${root}': it is not a folder`);

  const depth = recursive ? Number.POSITIVE_INFINITY : Number(classes);
  const takes = filter && guard(filter, TAKEN_OR_NOT);
  const report = onProgress && guard(onProgress);
  const { files, unreadable } = await listImages(root, { depth, takes, signal });
  if (onUnreadable === 'error') refuseFolders(root, unreadable);
  if (files.length === 0) throw noImages(root, unreadable);
  const classNames = classes ? await classesOf(root, files) : undefined;

  const { pixels, skipped } = cacheFile === undefined ? await intoMemory() : await intoCache(cacheFile);
  const skippedFiles = new Set(skipped.map(({ file }) => file));
  const sources = skippedFiles.size === 0 ? files : files.filter((file) => !skippedFiles.has(file));
  const labels = classNames && (await labelsOf(sources, classNames));
  const told = skipped.map(({ file, reason }) => ({ file, reason }));
  return new Dataset(pixels, { labels, classNames, sources, skipped: [...unreadable, ...told] });

  async function intoMemory(): Promise<Decoded> {
    const pixels = createStore(target);
    const { skipped } = await decodeAll(async (levels) => append(pixels, levels));
    return { pixels, skipped };
  }

  async function intoCache(cacheFile: string): Promise<Decoded> {
    const origin = await originOf(root, files, target, signal);
    const cache = await openCache(cacheFile, root, origin, signal);
    if (cache === undefined) return writeCache(cacheFile, origin, target, (add) => decodeAll(add, origin.unsettled));
    refuseUnreadable(root, files.length, cache.skipped, onUnreadable);
    await report?.({ done: files.length, total: files.length });
    return cache;
  }

  /** Hands over the levels of each file that can be read, and tells which cannot, and the hashes that are asked for. */
  async function decodeAll(
    add: (levels: Uint8Array) => Promise<void>,
    toHash: ReadonlySet<string> = new Set(),
  ): Promise<Findings> {
    const findings: Findings = { skipped: [], hashes: [] };
    let done = 0;
    const attempts = mapOrdered(files, concurrency, (file) => attempt(root, file, target, toHash.has(file), signal));
    for await (const { file, sha256, levels, fault } of attempts) {
      throwIfAborted(signal);
      if (sha256 !== undefined) findings.hashes.push({ file, sha256 });
      if (levels === undefined) findings.skipped.push({ file, ...fault });
      else if (findings.skipped.length === 0 || onUnreadable === 'skip') await add(levels);
      await report?.({ done: ++done, total: files.length });
    }
    refuseUnreadable(root, files.length, findings.skipped, onUnreadable);
    return findings;
  }
}

function resolveOptions(given: ImageFolderOptions) {
  const parsed = parseOptions(schema, given, 'options');
  const { channels, fit, background, ...others } = { ...parsed, ...withDefaults(parsed, defaults) };
  if (channels === 4 && parsed.background !== undefined) {
    throw invalidOption('background', 'no value (4 channels keep transparency)', parsed.background);
  }
  const target: Target = { ...resolveSides(parsed), channels, fit, background };
  return { ...others, target, concurrency: parsed.concurrency ?? availableParallelism() };
}

type Attempt = { file: string; sha256: string | undefined } & (
  | { levels: Uint8Array; fault?: undefined }
  | { levels?: undefined; fault: Omit<UnreadFile, 'file'> }
);

/** @throws {DdpmError} `ERR_IO`: too many files are open. {@link AbortError}. */
async function attempt(
  root: string,
  file: string,
  target: Target,
  toHash: boolean,
  signal: AbortSignal | undefined,
): Promise<Attempt> {
  let sha256: string | undefined;
  try {
    const bytes = await readPicture(join(root, file), signal);
    if (toHash) sha256 = await hashOf(bytes);
    return { file, sha256, levels: await decodePicture(bytes, target) };
  } catch (error) {
    // No fault of this file, and the next would have it too.
    if (error instanceof DdpmError || error instanceof AbortError) throw error;
    return { file, sha256, fault: { reason: reasonOf(error), mayPass: mayPass(error) } };
  }
}

/** The folders that hold the files, or hold the folders of the files. */
async function classesOf(root: string, files: readonly string[]): Promise<string[]> {
  const outside: string[] = [];
  const names = new Set<string>();
  const pause = pacer();
  for (const [i, file] of files.entries()) {
    if (file.includes('/')) names.add(classOf(file));
    else outside.push(file);
    if (i % FILES_A_TURN === 0) await pause();
  }
  if (outside.length > 0) {
    const what = `${outside.length} images in '${root}' are in no class folder (classes: true)`;
    throw new DdpmError('ERR_DATASET', [`${what}:`, ...namedLines(outside)].join('\n'));
  }
  return [...names].sort();
}

async function labelsOf(files: readonly string[], classNames: readonly string[]): Promise<Int32Array> {
  const numbers = new Map(classNames.map((name, label) => [name, label]));
  const labels = new Int32Array(files.length);
  const pause = pacer();
  for (const [i, file] of files.entries()) {
    labels[i] = numbers.get(classOf(file)) as number;
    if (i % FILES_A_TURN === 0) await pause();
  }
  return labels;
}

function classOf(file: string): string {
  return file.slice(0, file.indexOf('/'));
}

function noImages(root: string, unreadable: readonly SkippedFile[]): DdpmError {
  const text = `No images in '${root}': expected files that end in ${imageSuffixes().join(', ')}`;
  if (unreadable.length === 0) return new DdpmError('ERR_DATASET', text);
  return new DdpmError('ERR_DATASET', [`${text}. Folders that cannot be read:`, ...reasonLines(unreadable)].join('\n'));
}

function refuseFolders(root: string, unreadable: readonly SkippedFile[]): void {
  if (unreadable.length === 0) return;
  const remedy = "onUnreadable: 'skip' goes on without them, and so does a filter that does not take them";
  const what = `${unreadable.length} of the folders in '${root}' cannot be read (${remedy}):`;
  throw new DdpmError('ERR_DATASET', [what, ...reasonLines(unreadable)].join('\n'));
}

function refuseUnreadable(
  root: string,
  total: number,
  skipped: readonly SkippedFile[],
  onUnreadable: 'error' | 'skip',
): void {
  const none = skipped.length === total;
  if (skipped.length === 0 || (onUnreadable === 'skip' && !none)) return;
  const count = none ? `None of the ${total} images` : `${skipped.length} of the ${total} images`;
  const verb = none ? 'can be read' : 'cannot be read';
  const remedy = none ? '' : " (onUnreadable: 'skip' goes on without them)";
  throw new DdpmError('ERR_DATASET', [`${count} in '${root}' ${verb}${remedy}:`, ...reasonLines(skipped)].join('\n'));
}

function reasonLines(skipped: readonly SkippedFile[]): string[] {
  return namedLines(skipped.map(({ file, reason }) => `${file}: ${reason}`));
}

function namedLines(items: readonly string[]): string[] {
  const more = items.length - NAMED_FILES;
  return [...items.slice(0, NAMED_FILES).map((item) => `  ${item}`), ...(more > 0 ? [`  and ${more} more`] : [])];
}
