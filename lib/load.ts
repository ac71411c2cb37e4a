/** Finds the native addon and loads it, or says what was tried and the one command that mends it. */

import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { DdpmError } from './errors';

/**
 * Loads the addon of the package in `root`: one built here goes before one that came with the package, and the file that
 * the environment variable `DDPM_ADDON` names before both, which are then not tried.
 *
 * @param root The package's folder.
 * @returns What the addon exports.
 * @throws {DdpmError} `ERR_NATIVE_UNAVAILABLE`: every path tried and why it did not load, and what to do. `cause` is
 *   an AggregateError of what was thrown, where anything was.
 */
export function loadAddon(root: string): unknown {
  const tried: string[] = [];
  const errors: unknown[] = [];
  for (const file of candidates(root)) {
    if (!existsSync(file)) {
      tried.push(`${file}: not there`);
      continue;
    }
    try {
      return withLibtorchOnWindows(root, () => withPatientThreads(() => require(file)));
    } catch (error) {
      errors.push(error);
      tried.push(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const message = [problem(root, errors.length > 0), ...tried.map((line) => `  - ${line}`), remedy(root)].join('\n');
  const options = errors.length > 0 ? { cause: new AggregateError(errors, 'What loading the addon threw') } : undefined;
  throw new DdpmError('ERR_NATIVE_UNAVAILABLE', message, options);
}

/** Where an addon may be, best first. */
function candidates(root: string): string[] {
  const named = process.env.DDPM_ADDON;
  if (named) return [resolve(named)];
  const built = ['Release', 'Debug'].map((config) => join(root, 'build', config, 'ddpm.node'));
  try {
    const found: string = require('node-gyp-build').resolve(root);
    return [...new Set([...built, found])];
  } catch {
    return [...built, join(root, 'prebuilds', `${process.platform}-${process.arch}`)];
  }
}

/** The first line: what is wrong, as far as it can be told. */
function problem(root: string, found: boolean): string {
  if (process.env.DDPM_ADDON) return 'The native addon of ddpm-node that DDPM_ADDON names does not load. Tried:';
  if (!found) return 'The native addon of ddpm-node is not built. Tried:';
  const link = join(root, 'build', 'libtorch');
  if (lstatSync(link, { throwIfNoEntry: false }) !== undefined && !existsSync(link)) {
    return `LibTorch, which the native addon of ddpm-node was built with, is gone from ${readlinkSync(link)}. Tried:`;
  }
  return 'The native addon of ddpm-node does not load. Tried:';
}

/** The last line: the command that mends it. */
function remedy(root: string): string {
  if (process.env.DDPM_ADDON)
    return 'Name the file of an addon in DDPM_ADDON, or unset it: then the built one is taken.';
  const command = basename(dirname(root)) === 'node_modules' ? 'npm rebuild ddpm-node' : 'npm run build';
  return `Run \`${command}\`: it sets LibTorch up and builds the addon, which an install with --ignore-scripts leaves out.`;
}

/** Windows has no run paths: a library's folder must be on PATH while the addon is loaded. */
function withLibtorchOnWindows<T>(root: string, load: () => T): T {
  if (process.platform !== 'win32') return load();
  const path = process.env.PATH;
  process.env.PATH = `${join(root, 'build', 'libtorch', 'lib')}${delimiter}${path ?? ''}`;
  try {
    return load();
  } finally {
    process.env.PATH = path;
  }
}

/**
 * LibTorch's OpenMP threads wait for their next piece of work by spinning, by default for so long that they take the
 * cores from the event loop and from other processes (several times slower where two programs compute at once). A short
 * spin costs nothing measurable, as long as it is not shorter still: the runtime cuts it where there are more of its
 * threads than processors, idle ones of a second model included, and under the policy of active waiting not below this. It
 * reads both once, while it is loaded; a user's own setting goes before.
 */
function withPatientThreads<T>(load: () => T): T {
  const { env } = process;
  if (env.GOMP_SPINCOUNT !== undefined || env.OMP_WAIT_POLICY !== undefined) return load();
  env.GOMP_SPINCOUNT = '1000';
  env.OMP_WAIT_POLICY = 'active';
  try {
    return load();
  } finally {
    delete env.GOMP_SPINCOUNT;
    delete env.OMP_WAIT_POLICY;
  }
}
