/** Small models, and models with weights of a test's own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm, type DdpmConfig, type ParametersOptions } from '../../lib';
import { writeSafetensors } from '../../lib/checkpoint/formats/safetensors';
import { layout } from '../../lib/checkpoint/model/layout';
import { device } from '../helpers/device';
import { normals, sameBits } from './numbers';

/** A network of 8×8 grey images with every kind of layer: two levels, attention, a change of width. */
export const small = {
  image: { size: 8, channels: 1 },
  unet: {
    channels: 8,
    channelMultipliers: [1, 2],
    blocksPerLevel: 1,
    attentionResolutions: [4],
    normGroups: 4,
    dropout: 0,
  },
  device,
} as const satisfies DdpmConfig;

/** Parameters by name. */
export type Parameters = Map<string, Float32Array>;

/** The values of a model's parameters. */
export async function valuesOf(ddpm: Ddpm, weights: ParametersOptions['weights']): Promise<Parameters> {
  const parameters = await ddpm.parameters({ weights });
  return new Map([...parameters].map(([name, { data }]) => [name, data]));
}

/** All values of a set of parameters, one parameter after another. */
export function flat(parameters: Parameters): Float32Array {
  return Float32Array.from([...parameters.values()].flatMap((data) => [...data]));
}

/** Whether two sets of parameters are the same, bit for bit. */
export function sameParameters(a: Parameters, b: Parameters): boolean {
  return a.size === b.size && [...a].every(([name, data]) => sameBits(data, b.get(name) as Float32Array));
}

/** Saves a model whose initial weights `change` has worked on, in place. */
async function saveModelWith(
  folder: string,
  config: DdpmConfig,
  change: (parameters: Parameters) => void,
): Promise<void> {
  await using initial = new Ddpm(config);
  await initial.save(folder);
  const parameters = await initial.parameters();
  change(new Map([...parameters].map(([name, { data }]) => [name, data])));
  const tensors = [...parameters].map(([name, { data, shape }]) => ({
    name,
    shape,
    dtype: 'F32' as const,
    chunks: () => [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
  }));
  await writeSafetensors(join(folder, layout.weights), tensors);
}

/** A model whose initial weights `change` has worked on, in place. It goes through a saved folder, as users' do. */
export async function modelWith(config: DdpmConfig, change: (parameters: Parameters) => void): Promise<Ddpm> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-model-'));
  try {
    await saveModelWith(folder, config, change);
    return await Ddpm.load(folder, { device: config.device });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Makes everything that is zero random: the layers that start from zero, and all biases. */
const nothingZero = (seed: number) => (parameters: Parameters) => {
  let index = 0;
  for (const data of parameters.values()) {
    const values = normals(data.length, 1000 * seed + index++);
    for (let i = 0; i < data.length; i++) if (data[i] === 0) data[i] = 0.1 * values[i];
  }
};

/** A model in which nothing is zero. */
export function randomModel(config: DdpmConfig, seed = 1): Promise<Ddpm> {
  return modelWith(config, nothingZero(seed));
}

/** Saves a model in which nothing is zero. */
export function savedRandomModel(folder: string, config: DdpmConfig, seed: number): Promise<void> {
  return saveModelWith(folder, config, nothingZero(seed));
}

/** A model whose network answers every image with `bias`, one value a channel. */
export function constantModel(config: DdpmConfig, bias: readonly number[]): Promise<Ddpm> {
  return modelWith(config, (parameters) => {
    parameters.get('conv_out.weight')?.fill(0);
    parameters.get('conv_out.bias')?.set(bias);
  });
}
