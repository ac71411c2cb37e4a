/** Where LibTorch is for a prebuilt addon, and how the addon finds it there. */

import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { DdpmError } from '../errors';
import { userCacheFolder } from '../files/userCache';
import type { NativeEnvironment } from './environment';
import type { AddonRecord } from './record';

/**
 * The folder of a LibTorch that an addon can be loaded with: the one that `DDPM_LIBTORCH` names, and then no other; the
 * one that a set-up linked to from build/ of the package; the one in the user's cache.
 *
 * @param root The package's folder.
 * @returns The folder, or why there is none, a line for each place.
 */
export function findLibtorch(root: string, { libtorch, variant }: AddonRecord): { folder: string } | { why: string[] } {
  const { DDPM_LIBTORCH: named } = process.env;
  // Asked for only where it is needed: there may be no home folder to keep a cache in.
  const cached = () =>
    join(userCacheFolder(process.env, process.platform), `libtorch-${libtorch.version}-${variant}`, 'torch');
  const places = named ? [() => resolve(named)] : [() => join(root, 'build', 'libtorch'), cached];
  const why = [];
  for (const place of places) {
    try {
      const folder = place();
      const problem = place === cached && !isFinished(folder) ? 'not there' : problemOf(folder, libtorch);
      if (problem === undefined) return { folder };
      why.push(`LibTorch in ${folder}${named ? ' (DDPM_LIBTORCH)' : ''}: ${problem}`);
    } catch (error) {
      if (!(error instanceof DdpmError)) throw error;
      why.push(`LibTorch in the user's cache: ${error.message}`);
    }
  }
  return { why };
}

/** Whether a set-up in the cache came to its end: `complete.json` is written last. */
function isFinished(folder: string): boolean {
  return existsSync(join(dirname(folder), 'complete.json'));
}

/** Why an addon cannot be loaded with the LibTorch in this folder. */
function problemOf(folder: string, { abi, libraries }: AddonRecord['libtorch']): string | undefined {
  if (!existsSync(folder)) return 'not there';
  const version = versionOf(folder);
  if (version !== undefined && !version.startsWith(`${abi}.`)) return `is release ${version}, and ${abi} is needed`;
  const missing = libraries.filter((library) => !existsSync(join(folder, library)));
  return missing.length > 0 ? `has no ${missing.join(', ')}` : undefined;
}

/** The release that the headers state; undefined where there are none. */
function versionOf(folder: string): string | undefined {
  const header = join(folder, 'include', 'torch', 'headeronly', 'version.h');
  if (!existsSync(header)) return undefined;
  const text = readFileSync(header, 'utf8');
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => new RegExp(`^#define TORCH_VERSION_${part} (\\d+)`, 'm').exec(text)?.[1],
  );
  return parts.includes(undefined) ? undefined : parts.join('.');
}

/** Tells the linker to keep a library in the process when its handle is closed; Node has no name for it. */
const RTLD_NODELETE: Partial<Record<NodeJS.Platform, number>> = { linux: 0x1000, darwin: 0x80 };

/**
 * Brings LibTorch's libraries into the process by their full paths, each after those that it needs. The addon asks for
 * them by name alone, and a linker that has a library of that name takes it without a search. So the addon may be anywhere,
 * in a folder that nobody can write to, and no link, run path or environment variable has to lead from there to LibTorch.
 *
 * `process.dlopen` opens any library. It then looks for an addon in it, finds none, throws, and closes it; NODELETE keeps
 * it. What else it throws are the linker's own errors.
 *
 * Windows has no such flag, and searches PATH instead: see {@link librariesOnPath}.
 *
 * @throws {Error} The linker's error, where a library could not be loaded.
 */
export function preload(folder: string, libraries: readonly string[]): void {
  const keep = RTLD_NODELETE[process.platform];
  if (keep === undefined) return;
  for (const library of libraries) {
    try {
      process.dlopen({ exports: {} }, join(folder, library), constants.dlopen.RTLD_LAZY | keep);
    } catch (error) {
      if (!/did not self-register/.test((error as Error).message)) throw error;
    }
  }
}

/** Windows looks for an addon's libraries on PATH: what that has to be. */
export function librariesOnPath(folder: string, get: NativeEnvironment['get']): Record<string, string> {
  return process.platform === 'win32' ? { PATH: `${join(folder, 'lib')}${delimiter}${get('PATH') ?? ''}` } : {};
}
