/** Writing a model. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeWeights } from '../binding';
import type { ResolvedConfig } from '../config';
import { DdpmError } from '../errors';
import { replaceFiles } from '../files/atomic';
import { isMissing } from '../files/errors';
import { diffusersFiles } from './diffusersConfig';
import { firstNonFinite } from './dtypes';
import { type JsonObject, writeJson } from './json';
import { isWeightsFile, layout } from './layout';
import { weightsMetadata } from './metadata';
import { nodeFile } from './nodeConfig';
import { CHUNK_BYTES, type TensorToWrite, writeSafetensors } from './safetensors';

/**
 * Saves a model in diffusers' layout, so that `DDPMPipeline.from_pretrained(folder)` takes it, with our own file beside.
 * An older model in the folder is replaced whole, with all its weight files, or stays as it is; other files are not
 * touched. See {@link replaceFiles}.
 *
 * @param model.parameters Name and shape of each parameter in the weights.
 * @param model.weights The moving average.
 * @param model.rawWeights The weights as trained last, to be kept beside.
 * @param model.step Optimizer updates since the model's first.
 * @throws {DdpmError} `ERR_NON_FINITE`: a weight is NaN or infinite; `ERR_IO`, with the system's reason.
 *   {@link AbortError} if the signal fires. In each case nothing in the folder has changed.
 */
export async function saveModelFolder(
  folder: string,
  model: {
    config: ResolvedConfig;
    parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
    weights: Pick<NativeWeights, 'read'>;
    rawWeights?: Pick<NativeWeights, 'read'>;
    step?: number;
  },
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  const { index, unetConfig, schedulerConfig } = diffusersFiles(model.config);
  const tensorFile = (path: string, weights: Pick<NativeWeights, 'read'>, set: 'ema' | 'raw') => ({
    path,
    write: (to: string) =>
      writeSafetensors(
        to,
        model.parameters.map((parameter) => tensorOf(parameter, weights)),
        { metadata: weightsMetadata(set, model.step ?? 0), signal },
      ),
  });
  const json = (path: string, value: JsonObject) => ({ path, write: (to: string) => writeJson(to, value) });
  await replaceFiles(
    folder,
    [
      ...(model.rawWeights ? [tensorFile(layout.rawWeights, model.rawWeights, 'raw')] : []),
      tensorFile(layout.weights, model.weights, 'ema'),
      json(layout.nodeConfig, nodeFile(model.config)),
      json(layout.schedulerConfig, schedulerConfig),
      json(layout.unetConfig, unetConfig),
      json(layout.index, index),
    ],
    { stale: otherWeights, signal },
  );
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

function tensorOf(
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
  weights: Pick<NativeWeights, 'read'>,
): TensorToWrite {
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  const step = CHUNK_BYTES / Float32Array.BYTES_PER_ELEMENT;
  return {
    name,
    dtype: 'F32',
    shape,
    *chunks() {
      for (let offset = 0; offset < count; offset += step) {
        const values = weights.read(name, offset, Math.min(step, count - offset));
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        const wrong = firstNonFinite(bytes, 'F32');
        if (wrong >= 0) {
          const place = `parameter '${name}', element ${offset + wrong}`;
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
