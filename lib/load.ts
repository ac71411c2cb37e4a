/** Finds the native addon and loads it, or says what was tried and the one command that mends it. */

import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DdpmError } from './errors';
import { type NativeEnvironment, withEnvironment } from './loading/environment';
import { findLibtorch, librariesOnPath, preload } from './loading/libtorch';
import { candidates } from './loading/places';
import { readRecord } from './loading/record';

/** A prebuilt addon that is there cannot be loaded yet. */
class LibtorchMissing extends Error {}

/**
 * Loads the addon of the package in `root`: one built here goes before a prebuilt one, and the file that the environment
 * variable `DDPM_ADDON` names before both, which are then not tried. `DDPM_VARIANT` chooses among prebuilt ones.
 *
 * @param root The package's folder.
 * @returns What the addon exports.
 * @throws {DdpmError} `ERR_NATIVE_UNAVAILABLE`: every path tried and why it did not load, and what to do. `cause` is
 *   an AggregateError of what was thrown, where anything was. `ERR_CONFIG`: `DDPM_VARIANT` has a wrong value.
 */
export function loadAddon(root: string): unknown {
  const tried: string[] = [];
  const errors: unknown[] = [];
  for (const { place, file, prebuilt } of candidates(root)) {
    if (file === undefined) {
      tried.push(`${place}: not there`);
      continue;
    }
    try {
      return prebuilt ? loadPrebuilt(root, file) : loadBuilt(root, file);
    } catch (error) {
      errors.push(error);
      tried.push(`${place}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const message = [problem(root, errors), ...tried.map((line) => `  - ${line}`), remedy(root)].join('\n');
  const options = errors.length > 0 ? { cause: new AggregateError(errors, 'What loading the addon threw') } : undefined;
  throw new DdpmError('ERR_NATIVE_UNAVAILABLE', message, options);
}

/** An addon that was built here finds LibTorch by a run path, through a link that the build made. */
function loadBuilt(root: string, file: string): unknown {
  return load(file, join(root, 'build', 'libtorch'), () => {});
}

function loadPrebuilt(root: string, file: string): unknown {
  const record = readRecord(file);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  if (record.version !== version) throw new Error(`it belongs to ddpm-node ${record.version}, and this is ${version}`);
  const libtorch = findLibtorch(root, record);
  if ('why' in libtorch) throw new LibtorchMissing(libtorch.why.join('; '));
  return load(file, libtorch.folder, () => preload(libtorch.folder, record.libtorch.libraries));
}

/** Loads an addon, and before it what it needs, in an environment that suits LibTorch. */
function load(file: string, libtorch: string, before: () => void): unknown {
  return withEnvironment(
    file,
    (get) => ({ ...patientThreads(get), ...librariesOnPath(libtorch, get) }),
    () => {
      before();
      return require(file);
    },
  );
}

/** The first line: what is wrong, as far as it can be told. */
function problem(root: string, errors: readonly unknown[]): string {
  if (process.env.DDPM_ADDON) return 'The native addon of ddpm-node that DDPM_ADDON names does not load. Tried:';
  if (errors.length === 0) return 'The native addon of ddpm-node is not built. Tried:';
  if (errors.every((error) => error instanceof LibtorchMissing)) {
    return 'The native addon of ddpm-node is there, and the LibTorch that it needs is not set up. Tried:';
  }
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
  if (process.env.DDPM_LIBTORCH)
    return 'Name the folder of a LibTorch that fits in DDPM_LIBTORCH, or unset it and run `npx ddpm setup`.';
  const command = basename(dirname(root)) === 'node_modules' ? 'npx ddpm setup' : 'npm run build';
  const left =
    'an install with --ignore-scripts leaves that out, and so do npm 12 and others unless the project allows its script';
  return `Run \`${command}\`: it sets LibTorch up, and builds the addon where no prebuilt one serves; ${left}.`;
}

/**
 * LibTorch's OpenMP threads wait for their next piece of work by spinning, by default for so long that they take the
 * cores from the event loop and from other processes (several times slower where two programs compute at once). A short
 * spin costs nothing measurable, as long as it is not shorter still: the runtime cuts it where there are more of its
 * threads than processors, idle ones of a second model included, and under the policy of active waiting not below this. It
 * reads both once, while it is loaded; a user's own setting goes before.
 */
function patientThreads(get: NativeEnvironment['get']): Record<string, string> {
  if (get('GOMP_SPINCOUNT') !== undefined || get('OMP_WAIT_POLICY') !== undefined) return {};
  return { GOMP_SPINCOUNT: '1000', OMP_WAIT_POLICY: 'active' };
}
