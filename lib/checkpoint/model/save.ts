/** Writing a model. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeWeights } from '../../binding';
import type { ResolvedConfig } from '../../config';
import { DdpmError } from '../../errors';
import { type FileToWrite, replaceFiles } from '../../files/atomic';
import { isMissing } from '../../files/errors';
import { firstNonFinite } from '../formats/dtypes';
import { type JsonObject, writeJson } from '../formats/json';
import { CHUNK_BYTES, type TensorToWrite, writeSafetensors } from '../formats/safetensors';
import { byteLength } from '../formats/safetensorsHeader';
import { diffusersFiles } from './diffusersConfig';
import { isWeightsFile, layout } from './layout';
import { type TrainingCounts, weightsMetadata } from './metadata';
import { nodeFile } from './nodeConfig';

/** A model to be saved. */
export interface ModelToSave extends TrainingCounts {
  config: ResolvedConfig;
  /** Name and shape of each parameter in the weights. */
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** The moving average. */
  weights: Pick<NativeWeights, 'read'>;
  /** The weights as trained last, to be kept beside. */
  rawWeights?: Pick<NativeWeights, 'read'>;
}

/**
 * Saves a model in diffusers' layout, so that `DDPMPipeline.from_pretrained(folder)` takes it, with our own file beside.
 * An older model in the folder is replaced whole, with all its weight files, or stays as it is; other files are not
 * touched. See {@link replaceFiles}.
 *
 * @throws {DdpmError} `ERR_NON_FINITE`: a weight is NaN or infinite; `ERR_IO`, with the system's reason.
 *   {@link AbortError} if the signal fires. In each case nothing in the folder has changed.
 */
export async function saveModelFolder(
  folder: string,
  model: ModelToSave,
  { signal }: { signal?: AbortSignal } = {},
): Promise<void> {
  await replaceFiles(folder, modelFiles(model, signal), { stale: otherWeights, signal });
}

/** The files of a model in the order in which they come into place, its entry last. */
export function modelFiles(model: ModelToSave, signal?: AbortSignal): FileToWrite[] {
  const { index, unetConfig, schedulerConfig } = diffusersFiles(model.config);
  const tensorFile = (path: string, weights: Pick<NativeWeights, 'read'>, set: 'ema' | 'raw') => ({
    path,
    bytes: model.parameters.reduce((sum, { shape }) => sum + byteLength('F32', shape), 0),
    write: (to: string) =>
      writeSafetensors(
        to,
        model.parameters.map((parameter) => tensorOf(parameter, weights)),
        { metadata: weightsMetadata(set, model), signal },
      ),
  });
  const json = (path: string, value: JsonObject) => ({ path, write: (to: string) => writeJson(to, value) });
  return [
    ...(model.rawWeights ? [tensorFile(layout.rawWeights, model.rawWeights, 'raw')] : []),
    tensorFile(layout.weights, model.weights, 'ema'),
    json(layout.nodeConfig, nodeFile(model.config)),
    json(layout.schedulerConfig, schedulerConfig),
    json(layout.unetConfig, unetConfig),
    json(layout.index, index),
  ];
}

/** Weights of an older model in other files than ours: left behind, diffusers could take them for the new model's. */
async function otherWeights(folder: string): Promise<string[]> {
  const names = await readdir(join(folder, dirname(layout.weights))).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const paths = names.filter(isWeightsFile).map((name) => `${dirname(layout.weights)}/${name}`);
  return paths.filter((path) => path !== layout.weights);
}

/** A parameter's values as a tensor of a file; NaN and infinities are refused as they turn up. */
export function tensorOf(
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
  weights: Pick<NativeWeights, 'read'>,
  nameInFile = name,
): TensorToWrite {
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  const step = CHUNK_BYTES / Float32Array.BYTES_PER_ELEMENT;
  return {
    name: nameInFile,
    dtype: 'F32',
    shape,
    *chunks() {
      for (let offset = 0; offset < count; offset += step) {
        const values = weights.read(name, offset, Math.min(step, count - offset));
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        const wrong = firstNonFinite(bytes, 'F32');
        if (wrong >= 0) {
          const place = `parameter '${nameInFile}', element ${offset + wrong}`;
          throw new DdpmError(
            'ERR_NON_FINITE',
            `${place}: expected a finite number, got ${values[wrong]}; nothing was saved`,
          );
        }
        yield bytes;
      }
    },
  };
}
