/** Writing a model. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeWeights } from '../binding';
import type { ResolvedConfig } from '../config';
import { DdpmError } from '../errors';
import { type FileToWrite, replaceFiles } from '../files/atomic';
import { isMissing } from '../files/errors';
import { diffusersFiles } from './diffusersConfig';
import { firstNonFinite } from './dtypes';
import { type JsonObject, writeJson } from './json';
import { isWeightsFile, layout } from './layout';
import { nodeFile } from './nodeConfig';
import { CHUNK_BYTES, type TensorToWrite, writeSafetensors } from './safetensors';

/**
 * Saves a model in diffusers' layout, so that `DDPMPipeline.from_pretrained(folder)` takes it, with our own file beside.
 * An older model in the folder is replaced whole, with all its weight files, or stays as it is; other files are not
 * touched. See {@link replaceFiles}.
 *
 * @param parameters Name and shape of each parameter in `weights`.
 * @throws {DdpmError} `ERR_NON_FINITE`: a weight is NaN or infinite; `ERR_IO`, with the system's reason.
 *   {@link AbortError} if the signal fires. In each case nothing in the folder has changed.
 */
export async function saveModelFolder(
  folder: string,
  model: {
    config: ResolvedConfig;
    parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
    weights: Pick<NativeWeights, 'read'>;
  },
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  const tensors = model.parameters.map((parameter) => tensorOf(parameter, model.weights));
  await replaceFiles(folder, modelFiles({ config: model.config, tensors }, signal), { stale: otherWeights, signal });
}

/** The files of a model in the order in which they come into place, its entry last. */
export function modelFiles(
  { config, tensors }: { config: ResolvedConfig; tensors: readonly TensorToWrite[] },
  signal?: AbortSignal,
): FileToWrite[] {
  const { index, unetConfig, schedulerConfig } = diffusersFiles(config);
  const json = (path: string, value: JsonObject) => ({ path, write: (to: string) => writeJson(to, value) });
  return [
    { path: layout.weights, write: (to) => writeSafetensors(to, tensors, { signal }) },
    json(layout.nodeConfig, nodeFile(config)),
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
