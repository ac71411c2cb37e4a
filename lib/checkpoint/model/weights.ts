/** The weights of a folder, in whichever of diffusers' forms they are. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { alternatives } from '../../config/messages';
import { DdpmError } from '../../errors';
import { isMissing, readError } from '../../files/errors';
import { SafetensorsFile, type TensorSource } from '../formats/safetensors';
import { ShardedWeights } from '../formats/shards';
import { TorchFile } from '../formats/torchFile';
import { variantsOf, type WeightsFile, weightsFiles } from './layout';

/**
 * Opens the weights in a folder: safetensors before PyTorch's own form, and of each, an index of several files before a
 * single one, which is diffusers' order.
 *
 * @param variant Which of several sets of weights; undefined for the one without a name.
 * @throws {DdpmError} `ERR_CHECKPOINT`: there are none (what there is instead is named), or they are damaged; `ERR_IO`.
 */
export async function openWeights(folder: string, variant?: string): Promise<TensorSource> {
  const files = weightsFiles(variant);
  const names = await readdir(folder).catch((error: unknown): string[] => {
    if (isMissing(error)) return [];
    throw readError(error, folder);
  });
  const file = files.find(({ name }) => names.includes(name));
  if (!file) throw new DdpmError('ERR_CHECKPOINT', whatThereIs(folder, names, variant));
  return openFile(folder, file);
}

function openFile(folder: string, { name, form, isIndex }: WeightsFile): Promise<TensorSource> {
  const open = (file: string) => (form === 'safetensors' ? SafetensorsFile.open(file) : TorchFile.open(file));
  const path = join(folder, name);
  return isIndex ? ShardedWeights.open(path, form, open) : open(path);
}

function whatThereIs(folder: string, names: readonly string[], variant: string | undefined): string {
  const [wanted] = weightsFiles(variant).filter(({ isIndex }) => !isIndex);
  const missing = `${join(folder, wanted.name)}: no such file`;
  const variants = variantsOf(names);
  if (variant === undefined && variants.length) {
    const choice = `choose one, as in Ddpm.load(directory, { variant: '${variants[0]}' })`;
    return `${missing}; the weights there are the variants ${alternatives(variants)}: ${choice}`;
  }
  const found = names.filter((name) => /\.(safetensors|bin|pth?|ckpt|h5|msgpack|flashpack|gguf|onnx)$/.test(name));
  if (found.length === 0) return missing;
  return `${missing}; found ${found.join(', ')}, ${variant === undefined ? 'which this version does not read' : 'which are not of that variant'}`;
}
