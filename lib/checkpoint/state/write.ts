/** Writing a checkpoint. */
import { join, resolve } from 'node:path';
import type { NativeStateSet, NativeTrainingState } from '../../binding';
import type { ResolvedConfig, SavedCheckpoint } from '../../config';
import { throwIfAborted } from '../../errors';
import { digestOf } from '../../files/digest';
import { writeError } from '../../files/errors';
import { foldersOf, makeFolder, oneAtATime, syncFolders } from '../../files/folders';
import { publishFolder, removeLeftovers } from '../../files/publish';
import { requireSpace } from '../../files/space';
import { writeJson } from '../formats/json';
import { writeSafetensors } from '../formats/safetensors';
import { modelFiles, tensorOf } from '../model/save';
import { listCheckpoints, prune } from './folder';
import { folderName, layout, setsOf } from './layout';
import { type Manifest, manifestFile, type TrainingRecord } from './manifest';
import { versions } from './versions';

/** Room for headers, configurations and the manifest, beside four numbers a parameter. */
const OTHER_BYTES = 4 * 1024 * 1024;

/** What a checkpoint is made of. */
export interface CheckpointContents {
  config: ResolvedConfig;
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  state: NativeTrainingState;
  training: TrainingRecord | null;
  metric: number | null;
}

/**
 * Saves a checkpoint as a folder in `directory`. It is complete and on the disk before it gets its name, so a crash leaves
 * it out or whole. Calls of this process on one directory run one after another; two processes must not save into one at
 * a time.
 *
 * @param keep How many checkpoints to keep, this one included, with the one of the best metric beside them: the others are
 *   removed after this one is saved.
 * @throws {DdpmError} `ERR_IO` with the system's reason; `ERR_NON_FINITE`. {@link AbortError} when the signal fires. In
 *   each case nothing has changed in the directory.
 */
export async function writeCheckpoint(
  directory: string,
  contents: CheckpointContents,
  { keep = Number.POSITIVE_INFINITY, signal }: { keep?: number; signal?: AbortSignal } = {},
): Promise<SavedCheckpoint> {
  const parent = resolve(directory);
  return oneAtATime(parent, async () => {
    throwIfAborted(signal);
    await removeLeftovers(parent);
    const before = await listCheckpoints(parent).catch((error: unknown) => {
      throw writeError(error, directory);
    });
    const { step } = contents.state.counters;
    const copies = before.filter((checkpoint) => checkpoint.step === step).map(({ copy }) => copy + 1);
    const name = folderName(step, Math.max(0, ...copies));
    const sequence = 1 + Math.max(0, ...before.map((checkpoint) => checkpoint.manifest?.sequence ?? 0));
    await requireSpace(parent, bytesNeeded(contents));
    let bytes = 0;
    await publishFolder(parent, name, async (folder) => {
      bytes = await fill(folder, contents, sequence, signal);
    });
    // What is old is no reason to fail: it is tried again the next time.
    await prune(parent, keep, name).catch(() => {});
    return { path: join(directory, name), step, bytes };
  });
}

/** Bytes of the four sets of float32 values, and of the rest. */
function bytesNeeded({ parameters }: CheckpointContents): number {
  const values = parameters.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
  return 4 * values * Float32Array.BYTES_PER_ELEMENT + OTHER_BYTES;
}

/** Writes all files into a folder, the manifest last; returns their size. */
async function fill(
  folder: string,
  { config, parameters, state, training, metric }: CheckpointContents,
  sequence: number,
  signal?: AbortSignal,
): Promise<number> {
  const reader = (set: NativeStateSet) => ({ read: (...place: [string, number, number]) => state.read(set, ...place) });
  const { step, averaged } = state.counters;
  const moments = setsOf[layout.optimizer].flatMap(([set, prefix]) =>
    parameters.map((parameter) => tensorOf(parameter, reader(set), prefix + parameter.name)),
  );
  const files = [
    ...modelFiles({ config, parameters, weights: reader('ema'), rawWeights: reader('raw'), step, averaged }, signal),
    { path: layout.optimizer, write: (to: string) => writeSafetensors(to, moments, { signal }) },
  ];
  const manifest: Manifest = {
    sequence,
    savedAt: new Date().toISOString(),
    versions: versions(),
    config,
    counters: state.counters,
    training,
    metric,
    files: {},
  };
  const folders = foldersOf(files.map(({ path }) => path));
  for (const path of folders) await makeFolder(join(folder, path));
  let bytes = 0;
  for (const { path, write } of files) {
    await write(join(folder, path));
    const digest = await digestOf(join(folder, path), () => throwIfAborted(signal));
    manifest.files[path] = digest;
    bytes += digest.bytes;
  }
  await writeJson(join(folder, layout.manifest), manifestFile(manifest));
  await syncFolders(folder, folders);
  throwIfAborted(signal);
  return bytes;
}
