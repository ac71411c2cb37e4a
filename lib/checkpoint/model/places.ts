/** Where a saved model's files are, in each of the layouts that diffusers writes or has written. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DdpmError } from '../../errors';
import { interruptedWrites } from '../../files/atomic';
import { isMissing, missing, readError } from '../../files/errors';
import { layout } from './layout';

/** Paths of the files of a model; a file that is not there is undefined. */
export interface ModelPlaces {
  readonly index: string | undefined;
  /** The folder of the weights. */
  readonly unet: string;
  readonly unetConfig: string;
  readonly schedulerConfig: string | undefined;
  readonly nodeConfig: string | undefined;
  /** Stands for one state of the files: another one after they are replaced. */
  readonly state: string;
}

const UNET = dirname(layout.unetConfig);
const UNET_CONFIG = basename(layout.unetConfig);
const SCHEDULER_CONFIG = basename(layout.schedulerConfig);

/**
 * Finds a model:
 *
 * - a pipeline, with a folder for each part;
 * - a pipeline of 2022, whose folder holds all files itself: diffusers looks there for a part that has no folder;
 * - a network by itself: the folder `unet/` of a pipeline, or one like it.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: there is none, or a save into the folder is under way or was cut off; `ERR_IO`.
 */
export async function findModel(folder: string): Promise<ModelPlaces> {
  const roots = [folder];
  let unet = join(folder, UNET);
  if (await isThere(join(folder, layout.index))) {
    // A part that has a folder is in it, whatever lies beside.
    if (!(await isThere(unet))) unet = folder;
  } else {
    await refuseInterrupted(folder, folder);
    if (!(await isThere(join(folder, layout.unetConfig)))) {
      if (!(await isThere(join(folder, UNET_CONFIG)))) throw await noModel(folder);
      unet = folder;
      const path = resolve(folder);
      if (basename(path) === UNET) {
        const pipeline = dirname(path);
        if (!(await isThere(join(pipeline, layout.index)))) await refuseInterrupted(pipeline, folder);
        roots.push(pipeline);
      }
    }
  }
  const first = async (names: readonly string[]) => {
    for (const root of roots) for (const name of names) if (await isThere(join(root, name))) return join(root, name);
    return undefined;
  };
  const places = {
    index: await first([layout.index]),
    unet,
    unetConfig: join(unet, UNET_CONFIG),
    schedulerConfig: await first([layout.schedulerConfig, SCHEDULER_CONFIG]),
    nodeConfig: await first([layout.nodeConfig]),
  };
  return { ...places, state: await stateOf([places.index, places.unetConfig]) };
}

/** Each save makes new files, the index last. */
async function stateOf(paths: readonly (string | undefined)[]): Promise<string> {
  const states = paths.map(async (path) => {
    if (path === undefined) return '';
    try {
      const { ino, mtimeNs } = await stat(path, { bigint: true });
      return `${ino}:${mtimeNs}`;
    } catch (error) {
      // Without its configuration the network will be refused by name when that is read.
      if (isMissing(error)) return '';
      throw readError(error, path);
    }
  });
  return (await Promise.all(states)).join();
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw readError(error, path);
  }
}

/** A folder into which a save was cut off has lost its index, and may hold files of two models. */
async function refuseInterrupted(folder: string, asked: string): Promise<void> {
  const [stage] = await interruptedWrites(folder).catch(() => []);
  if (stage === undefined) return;
  const reason = `a save into it is under way or was cut off, and ${stage} has the files; the next save into it puts them in order`;
  throw notAModel(asked, reason);
}

async function noModel(folder: string): Promise<DdpmError> {
  const isFolder = await stat(folder).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return notAModel(
    folder,
    isFolder ? `it has no ${layout.index}, no ${layout.unetConfig} and no ${UNET_CONFIG}` : missing(folder, 'folder'),
  );
}

function notAModel(folder: string, reason: string): DdpmError {
  return new DdpmError('ERR_CHECKPOINT', `${folder}: expected the folder of a saved model: ${reason}`);
}
