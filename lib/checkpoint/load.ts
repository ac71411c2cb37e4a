/** Reading a saved model. */
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeModel } from '../binding';
import type { DdpmConfig } from '../config';
import { DdpmError } from '../errors';
import { interruptedWrites } from '../files/atomic';
import { isMissing, readError } from '../files/errors';
import { checkModelIndex, configFromDiffusers } from './diffusersConfig';
import { fillFrom } from './fill';
import { readJsonObject } from './json';
import { isWeightsFile, layout } from './layout';
import { configFromNodeFile, type NodeConfig } from './nodeConfig';
import { SafetensorsFile, type TensorSource } from './safetensors';

/** A saved model, its weights still in their file. */
export interface ModelFolder {
  /** All that the files say, and nothing else: what they leave open is absent. Not yet checked by `resolveConfig`. */
  readonly config: DdpmConfig;
  /** To be closed by the caller. */
  readonly weights: TensorSource;
}

/**
 * Opens a folder in diffusers' layout, with or without our own file beside.
 *
 * The scheduler's file must be there: it holds the schedule that the network was trained with, which nothing else tells.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: something is missing, damaged, of a form or with settings that are not supported,
 *   or was being replaced meanwhile; `ERR_IO`.
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const before = await identify(folder);
  const path = (place: keyof typeof layout) => join(folder, layout[place]);
  checkModelIndex(path('index'), await readJsonObject(path('index')));
  const read = async (place: keyof typeof layout) => ({ name: path(place), json: await readJsonObject(path(place)) });
  const diffusers = configFromDiffusers({ unet: await read('unetConfig'), scheduler: await read('schedulerConfig') });
  const own = await readNodeConfig(path('nodeConfig'));
  const weights = await openWeights(path('weights'));
  try {
    if ((await identify(folder)) !== before) {
      throw new DdpmError('ERR_CHECKPOINT', `${folder}: the model was replaced while it was read; load it again`);
    }
  } catch (error) {
    await weights.close();
    throw error;
  }
  return { config: { ...own, ...diffusers, diffusion: { ...diffusers.diffusion, ...own.diffusion } }, weights };
}

/**
 * Fills a model with saved weights, both the raw ones and their moving average.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: the weights do not fit the model, or are not finite; `ERR_IO`. The model's weights
 *   are then as before. {@link AbortError} when the signal fires.
 */
export async function loadWeights(
  source: TensorSource,
  model: Pick<NativeModel, 'parameters' | 'createWeights' | 'importWeights'>,
  signal?: AbortSignal,
): Promise<void> {
  const weights = await model.createWeights().promise;
  await fillFrom(source, model.parameters(), (...piece) => weights.write(...piece), signal);
  await model.importWeights(weights, ['raw', 'ema']).promise;
}

/** What stands for one state of a folder: its index is a new file after every save. */
async function identify(folder: string): Promise<string> {
  const index = join(folder, layout.index);
  try {
    const { ino, mtimeNs } = await stat(index, { bigint: true });
    return `${ino}:${mtimeNs}`;
  } catch (error) {
    if (!isMissing(error)) throw readError(error, index);
    const reason = await whyNoModel(folder);
    throw new DdpmError('ERR_CHECKPOINT', `${folder}: expected the folder of a saved model: ${reason}`, {
      cause: error,
    });
  }
}

async function whyNoModel(folder: string): Promise<string> {
  const isFolder = await stat(folder).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) return 'no such folder';
  const [stage] = await interruptedWrites(folder).catch(() => []);
  if (stage === undefined) return `it has no ${layout.index}`;
  return `a save into it is under way or was cut off, and ${stage} has the files; the next save into it puts them in order`;
}

async function readNodeConfig(path: string): Promise<NodeConfig> {
  try {
    return configFromNodeFile(path, await readJsonObject(path));
  } catch (error) {
    // A model that diffusers saved has none.
    if (error instanceof DdpmError && isMissing(error.cause)) return {};
    throw error;
  }
}

async function openWeights(path: string): Promise<SafetensorsFile> {
  try {
    return await SafetensorsFile.open(path);
  } catch (error) {
    if (!(error instanceof DdpmError && isMissing(error.cause))) throw error;
    const others = (await readdir(dirname(path)).catch(() => [])).filter(isWeightsFile);
    const found = others.length
      ? `; found ${others.join(', ')}, which this version does not read (in Python, save_pretrained(…, safe_serialization=True, max_shard_size='100GB') writes one file)`
      : '';
    throw new DdpmError('ERR_CHECKPOINT', `${path}: no such file${found}`, { cause: error });
  }
}
