/** The image files in a folder. */
import type { Dirent } from 'node:fs';
import { opendir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import sharp from 'sharp';
import { sortStrings } from '../concurrency';
import { throwIfAborted } from '../errors';
import { whenFree } from '../files/whenFree';
import { warn } from '../warn';
import type { SkippedFile } from './dataset';
import { reasonOf, unreadable } from './files';

/**
 * Suffixes of pictures that a build of sharp may or may not read. They are tried like the rest, so that a picture which
 * cannot be read is named instead of overlooked.
 */
const OTHER_SUFFIXES = ['.apng', '.bmp', '.heic', '.heif', '.jp2', '.jxl', '.pbm', '.pgm', '.ppm', '.tga'];

/** Suffixes of image files, in lower case and sorted: what this build of sharp decodes from memory, and the above. */
export function imageSuffixes(): string[] {
  const decoded = Object.values(sharp.format)
    .filter(({ input }) => input.buffer)
    .flatMap(({ input }) => input.fileSuffix ?? [])
    // Two-part suffixes such as .svg.gz end in one that says nothing of a picture.
    .filter((suffix) => suffix.lastIndexOf('.') === 0);
  return [...new Set([...decoded, ...OTHER_SUFFIXES])].sort();
}

/** Which files of a folder to take. */
export interface ListingOptions {
  /** How many levels of sub-folders to go into: 0 for none, Infinity for all. */
  depth: number;
  /**
   * Whether to take a file, by its path within the folder. It is asked of a folder that cannot be read too, by its path
   * with '/' at the end.
   */
  takes: ((file: string) => Promise<boolean>) | undefined;
  signal: AbortSignal | undefined;
}

/** What is in a folder. */
export interface Listing {
  /** Paths of the image files. */
  files: string[];
  /** Folders that could not be read, their paths with '/' at the end. */
  unreadable: SkippedFile[];
}

/**
 * The image files in a folder, by their paths within it with '/' between the parts, sorted by code units. Hidden files and
 * folders (`.name`) are passed over. Links are followed; a folder that can be reached in several ways is read once,
 * under its own name where it lies within the folder, so a loop of links ends.
 *
 * @throws {DdpmError} `ERR_DATASET`: the folder itself cannot be read.
 */
export async function listImages(root: string, { depth, takes, signal }: ListingOptions): Promise<Listing> {
  const suffixes = new Set(imageSuffixes());
  const isImage = (name: string) => suffixes.has(extname(name).toLowerCase());
  const seen = new Set<string>();
  const files: string[] = [];
  const unread: SkippedFile[] = [];
  const folders: string[] = [''];
  const links: string[] = [];

  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop() ?? nextLink(links)) {
    const path = join(root, folder);
    let entries: Dirent[];
    try {
      const real = await realpath(path);
      if (seen.has(real)) continue;
      seen.add(real);
      entries = await whenFree(() => entriesOf(path, signal), signal);
    } catch (error) {
      const told = unreadable(path, error);
      if (folder === '' || error === told) throw told;
      const reason = reasonOf(error, 'folder');
      if ((await takes?.(`${folder}/`)) ?? true) unread.push({ file: `${folder}/`, reason });
      else warn('DDPM_FOLDER_UNREADABLE', `${path}: left out, and what is in it: ${reason}`);
      continue;
    }
    for (const entry of entries) {
      throwIfAborted(signal);
      if (entry.name.startsWith('.')) continue;
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      const kind = await kindOf(entry, join(root, name));
      const deeper = kind === 'folder' && name.split('/').length <= depth;
      if (deeper) (entry.isSymbolicLink() ? links : folders).push(name);
      if (kind === 'file' && isImage(entry.name) && ((await takes?.(name)) ?? true)) files.push(name);
    }
  }
  return { files: await sortStrings(files), unreadable: unread };
}

/** The first of the links, which come after all folders proper; in an order that is the same on every machine. */
function nextLink(links: string[]): string | undefined {
  links.sort();
  return links.shift();
}

/** All of them or none: of a folder that cannot be read to its end nothing is taken. */
async function entriesOf(folder: string, signal: AbortSignal | undefined): Promise<Dirent[]> {
  const entries: Dirent[] = [];
  for await (const entry of await opendir(folder, { bufferSize: 256 })) {
    throwIfAborted(signal);
    entries.push(entry);
  }
  return entries;
}

/** A link counts as what it leads to, and as a file where it leads nowhere: reading it will say so. */
async function kindOf(entry: Dirent, path: string): Promise<'folder' | 'file'> {
  if (!entry.isSymbolicLink()) return entry.isDirectory() ? 'folder' : 'file';
  const target = await stat(path).catch(() => undefined);
  return target?.isDirectory() ? 'folder' : 'file';
}
