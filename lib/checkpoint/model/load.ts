/** Reading a saved model. */
import { basename, join } from 'node:path';
import type { NativeModel, NativeWeights } from '../../binding';
import type { DdpmConfig, DiffusionOptions } from '../../config';
import { DdpmError } from '../../errors';
import { isMissing } from '../../files/errors';
import { readJsonObject } from '../formats/json';
import { SafetensorsFile, type TensorSource } from '../formats/safetensors';
import { checkModelIndex, configFromDiffusers } from './diffusersConfig';
import { fillFrom } from './fill';
import { layout } from './layout';
import { averagedOf, metadataKeys } from './metadata';
import { configFromNodeFile, type NodeConfig } from './nodeConfig';
import { findModel } from './places';
import { openWeights } from './weights';

/** A saved model, its weights still in their files. */
export interface ModelFolder {
  /** All that the files say, and nothing else: what they leave open is absent. Not yet checked by `resolveConfig`. */
  readonly config: DdpmConfig;
  /** To be closed by the caller. */
  readonly weights: TensorSource;
  /** The weights as trained last, where `weights` are their average and both are there. To be closed by the caller. */
  readonly rawWeights?: TensorSource;
  /** Updates that the average has taken in, where `rawWeights` are there: else training begins with an average of its own. */
  readonly averaged?: number;
}

/**
 * Opens the folder of a model: in one of diffusers' layouts (see {@link findModel}), with or without our own file beside.
 *
 * @param options.variant Which of several sets of weights; left out, the one without a name.
 * @param options.diffusion What the caller says of the diffusion process. It is not part of what is returned, but what it
 *   says need not be right in the scheduler's file, and without it that file must be there: it holds the schedule that the
 *   network was trained with.
 * @throws {DdpmError} `ERR_CHECKPOINT`: something is missing, damaged, of a form or with settings that are not supported,
 *   or was being replaced meanwhile; `ERR_IO`.
 */
export async function readModelFolder(
  folder: string,
  options: { variant?: string; diffusion?: DiffusionOptions } = {},
): Promise<ModelFolder> {
  const { variant, diffusion } = options;
  const places = await findModel(folder);
  const read = async (path: string) => ({ name: path, json: await readJsonObject(path) });
  // Who names a network's own folder and its process knows what it is, whatever pipeline it is part of.
  const asNetwork = diffusion !== undefined && places.unet === folder && places.index !== join(folder, layout.index);
  if (places.index && !asNetwork) checkModelIndex(places.index, await readJsonObject(places.index));
  const unet = await read(places.unetConfig);
  if (!places.schedulerConfig && !diffusion) throw noSchedule(folder);
  const scheduler = places.schedulerConfig ? await read(places.schedulerConfig) : undefined;
  const diffusers = configFromDiffusers({ unet, scheduler, given: diffusion });
  const own = await readNodeConfig(places.nodeConfig);
  const weights = await openWeights(places.unet, variant);
  let rawWeights: TensorSource | undefined;
  try {
    if (variant === undefined && places.nodeConfig) rawWeights = await openRawWeights(places.unet, weights);
    if ((await findModel(folder)).state !== places.state) {
      throw new DdpmError('ERR_CHECKPOINT', `${folder}: the model was replaced while it was read; load it again`);
    }
  } catch (error) {
    await weights.close();
    await rawWeights?.close();
    throw error;
  }
  const config = { ...own, ...diffusers, diffusion: { ...diffusers.diffusion, ...own.diffusion } };
  const averaged = rawWeights && weights instanceof SafetensorsFile ? averagedOf(weights.metadata) : undefined;
  return { config, weights, rawWeights, averaged };
}

/**
 * Fills a model with saved weights: one source for both the raw weights and their moving average, or one for each.
 *
 * @param options.raw The raw weights, where `source` is only their average.
 * @param options.averaged Updates that the average has taken in, which its warm-up goes on from.
 * @throws {DdpmError} `ERR_CHECKPOINT`: the weights do not fit the model, or are not finite; `ERR_IO`. The model's weights
 *   are then as before. {@link AbortError} when the signal fires.
 */
export async function loadWeights(
  source: TensorSource,
  model: Pick<NativeModel, 'parameters' | 'createWeights' | 'importWeights'>,
  options: { raw?: TensorSource; averaged?: number; signal?: AbortSignal } = {},
): Promise<void> {
  const { raw, averaged = 0, signal } = options;
  const average = await readWeights(source, model, signal);
  if (!raw) {
    await model.importWeights(average, ['raw', 'ema'], averaged).promise;
    return;
  }
  const trained = await readWeights(raw, model, signal);
  await model.importWeights(trained, ['raw'], averaged).promise;
  await model.importWeights(average, ['ema'], averaged).promise;
}

/** A set of weights, checked. */
async function readWeights(
  source: TensorSource,
  model: Pick<NativeModel, 'parameters' | 'createWeights'>,
  signal: AbortSignal | undefined,
): Promise<NativeWeights> {
  const weights = await model.createWeights().promise;
  await fillFrom(source, model.parameters(), (...piece) => weights.write(...piece), signal);
  return weights;
}

function noSchedule(folder: string): DdpmError {
  const schedule = "timesteps: 1000, betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02";
  const what = `there is no ${layout.schedulerConfig} and no ${basename(layout.schedulerConfig)}`;
  const how = `Ddpm.load(directory, { diffusion: { ${schedule} } })`;
  return new DdpmError(
    'ERR_CHECKPOINT',
    `${folder}: ${what}, which tell the schedule that the network was trained with: say it, as in ${how}`,
  );
}

async function readNodeConfig(path: string | undefined): Promise<NodeConfig> {
  // A model that diffusers saved has none.
  return path === undefined ? {} : configFromNodeFile(path, await readJsonObject(path));
}

/**
 * The raw weights that `save()` has put beside their average, if it has.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: they are of another save than the average, or damaged.
 */
async function openRawWeights(unet: string, average: TensorSource): Promise<TensorSource | undefined> {
  if (!(average instanceof SafetensorsFile)) return undefined;
  const path = join(unet, basename(layout.rawWeights));
  let raw: SafetensorsFile;
  try {
    raw = await SafetensorsFile.open(path);
  } catch (error) {
    if (error instanceof DdpmError && isMissing(error.cause)) return undefined;
    throw error;
  }
  // A variant of that name which somebody else has made is nothing to us, unless it is asked for.
  if (raw.metadata.get(metadataKeys.weights) !== 'raw') {
    await raw.close();
    return undefined;
  }
  const [step, averageStep] = [raw, average].map((file) => file.metadata.get(metadataKeys.step));
  if (step === averageStep) return raw;
  await raw.close();
  throw new DdpmError(
    'ERR_CHECKPOINT',
    `${path}: the raw weights are of step ${step}, but the average beside them of step ${averageStep}: they are not of one save`,
  );
}
