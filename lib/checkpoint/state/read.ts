/** Reading a checkpoint. */
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { NativeModel } from '../../binding';
import { DdpmError, throwIfAborted } from '../../errors';
import { digestOf } from '../../files/digest';
import { isMissing, readError } from '../../files/errors';
import { exists } from '../../files/folders';
import { isNoneLeft, whenFree } from '../../files/whenFree';
import { warn } from '../../warn';
import { SafetensorsFile } from '../formats/safetensors';
import { fillFrom } from '../model/fill';
import { matchParameters } from '../model/keys';
import { listCheckpoints, readManifest } from './folder';
import { layout, parseFolderName, setsOf } from './layout';
import type { Manifest } from './manifest';

/** A checkpoint whose files are as they were saved. */
export interface WholeCheckpoint {
  folder: string;
  manifest: Manifest;
}

/**
 * Goes on from the newest whole checkpoint of a folder, or from the one that the folder itself is. Where one is damaged,
 * or cannot be gone on from, a warning names it, and the one before is taken.
 *
 * @param open What to do with it; `ERR_CHECKPOINT` and `ERR_IO` pass on to the one before.
 * @returns What `open` did; undefined where there is no checkpoint, whole or not.
 * @throws {DdpmError} `ERR_CHECKPOINT`: none is whole; the message says what is wrong with each; `ERR_IO`.
 *   {@link AbortError}.
 */
export async function fromNewest<T>(
  directory: string,
  open: (checkpoint: WholeCheckpoint) => Promise<T>,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const path = resolve(directory);
  const problems: string[] = [];
  for (const folder of await candidates(path, directory)) {
    throwIfAborted(signal);
    try {
      const opened = await whenFree(async () => {
        const checkpoint = { folder, manifest: await readManifest(folder) };
        await verify(checkpoint, signal);
        return open(checkpoint);
      }, signal);
      for (const problem of problems) {
        warn('DDPM_CHECKPOINT_DAMAGED', `${problem}\nThe checkpoint before it is used instead: ${folder}`);
      }
      return opened;
    } catch (error) {
      if (!(error instanceof DdpmError) || !['ERR_CHECKPOINT', 'ERR_IO'].includes(error.code)) throw error;
      // No fault of this checkpoint: to go on from an older one would lose what it has.
      if (isNoneLeft(error)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length === 0) return undefined;
  const found = [`${directory}: none of its checkpoints can be used`, ...problems];
  throw new DdpmError('ERR_CHECKPOINT', found.join('\n'));
}

/**
 * Holds the weights of a checkpoint against the network that its configuration describes, before that is made: it may be
 * one that no memory would hold.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`; `ERR_IO`.
 */
export async function checkState(
  { folder }: WholeCheckpoint,
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[],
): Promise<void> {
  const file = await SafetensorsFile.open(join(folder, layout.weights));
  try {
    matchParameters(parameters, file);
  } finally {
    await file.close();
  }
}

/**
 * Fills a model with the state of a checkpoint.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: its values do not fit the model, or are not finite; `ERR_IO`. The model is then as
 *   before. {@link AbortError}.
 */
export async function loadState(
  { folder, manifest }: WholeCheckpoint,
  model: Pick<NativeModel, 'parameters' | 'createState' | 'importState'>,
  signal?: AbortSignal,
): Promise<void> {
  const parameters = model.parameters();
  const state = await model.createState().promise;
  try {
    for (const [path, sets] of Object.entries(setsOf)) {
      const file = await SafetensorsFile.open(join(folder, path));
      try {
        const places = sets.flatMap(([set, prefix]) =>
          parameters.map(({ name, shape }) => ({ name: prefix + name, shape, place: [set, name] as const })),
        );
        const placeOf = new Map(places.map(({ name, place }) => [name, place]));
        await fillFrom(
          file,
          places,
          (name, ...piece) => state.write(...(placeOf.get(name) as (typeof places)[0]['place']), ...piece),
          signal,
        );
      } finally {
        await file.close();
      }
    }
    await model.importState(state, manifest.counters).promise;
  } finally {
    state.release();
  }
}

/** The checkpoints of a folder, newest first; or the folder itself, where it is one. None where there is no such folder. */
async function candidates(path: string, name: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) throw new DdpmError('ERR_CHECKPOINT', `${name}: expected a folder`);
    if (parseFolderName(basename(path)) || (await exists(join(path, layout.manifest)))) return [path];
    const entries = await listCheckpoints(path);
    return entries.map((entry) => join(path, entry.name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw readError(error, name);
  }
}

/** Checks that every file is there, with the length and the contents that it was saved with. */
async function verify({ folder, manifest }: WholeCheckpoint, signal?: AbortSignal): Promise<void> {
  for (const path of Object.values(layout).filter((file) => file !== layout.manifest)) {
    const file = join(folder, path);
    const saved = manifest.files[path];
    if (!saved) throw new DdpmError('ERR_CHECKPOINT', `${join(folder, layout.manifest)}: files: ${path} missing`);
    const found = await digestOf(file, () => throwIfAborted(signal)).catch((error: unknown) => {
      throw readError(error, file);
    });
    if (found.bytes !== saved.bytes) {
      throw new DdpmError('ERR_CHECKPOINT', `${file}: expected ${saved.bytes} bytes, got ${found.bytes}`);
    }
    if (found.sha256 !== saved.sha256) {
      throw new DdpmError('ERR_CHECKPOINT', `${file}: the checksum does not match: the file is damaged or was edited`);
    }
  }
}
