/** Which files of a repository a model needs. */
import { basename, dirname } from 'node:path/posix';
import { isJsonObject, type JsonObject } from '../checkpoint/formats/json';
import { layout, variantsOf, weightsFiles } from '../checkpoint/model/layout';
import { alternatives } from '../config/messages';
import { DdpmError } from '../errors';

const UNET = `${dirname(layout.unetConfig)}/`;

/** Of each of a model's descriptions, where it can be: in today's layout, or in that of 2022, which has no folders. */
const descriptions: string[][] = [
  [layout.index],
  [layout.unetConfig, basename(layout.unetConfig)],
  [layout.schedulerConfig, basename(layout.schedulerConfig)],
  [layout.nodeConfig],
];

/** A name that diffusers gives to weights, their shards and the index of shards; without folders. */
const WEIGHTS_NAME = /^diffusion_pytorch_model[\w.-]*\.(safetensors|bin|json)$/;

/** The files of a model; the shards are named in the index, where there is one. */
export interface Selection {
  /** Without the shards. */
  files: string[];
  /** The one of `files` that names the shards. */
  shardIndex: string | undefined;
}

/** Whether a file can be part of a model at all. Such a path leads nowhere but into the model's folder and `unet/`. */
export function isModelFile(path: string): boolean {
  if (descriptions.some((places) => places.includes(path))) return true;
  return WEIGHTS_NAME.test(path.startsWith(UNET) ? path.slice(UNET.length) : path);
}

/**
 * What to take of the files of a repository: the descriptions, and the form of the weights that loading prefers. The raw
 * weights that `save()` can put beside their average belong to them.
 *
 * @param variant The weights' variant ('fp16'); undefined for those without one.
 * @throws {DdpmError} `ERR_CHECKPOINT`: there are no weights, or none of the variant.
 */
export function selectFiles(paths: readonly string[], variant?: string): Selection {
  const there = new Set(paths);
  const folder = there.has(layout.unetConfig) ? UNET : '';
  const files = descriptions.flatMap((places) => places.find((path) => there.has(path)) ?? []);
  const candidates = weightsFiles(variant);
  const chosen = candidates.find(({ name }) => there.has(folder + name));
  if (chosen) {
    const path = folder + chosen.name;
    const withRaw = variant === undefined && there.has(layout.nodeConfig) && there.has(layout.rawWeights);
    if (withRaw) files.push(layout.rawWeights);
    return { files: [...files, path], shardIndex: chosen.isIndex ? path : undefined };
  }
  const names = paths.filter((path) => path.startsWith(folder)).map((path) => path.slice(folder.length));
  const others = variantsOf(names);
  const found = others.length ? `only the variants ${alternatives(others)} (option 'variant')` : 'none';
  const wanted = variant === undefined ? 'weights' : `weights of the variant '${variant}'`;
  const example = candidates.find(({ isIndex }) => !isIndex)?.name;
  throw new DdpmError('ERR_CHECKPOINT', `expected ${wanted} (${folder}${example}), got ${found}`);
}

/**
 * The shards that an index names.
 *
 * @param index The path of the index; the shards are beside it.
 * @throws {DdpmError} `ERR_CHECKPOINT`: the index is damaged, or names what the repository does not hold.
 */
export function shardsOf(index: string, contents: JsonObject, paths: readonly string[]): string[] {
  if (!isJsonObject(contents.weight_map)) {
    throw new DdpmError('ERR_CHECKPOINT', `${index}: expected an object 'weight_map'`);
  }
  const folder = index.slice(0, index.lastIndexOf('/') + 1);
  const form = index.includes('.safetensors.') ? '.safetensors' : '.bin';
  const there = new Set(paths);
  return [...new Set(Object.values(contents.weight_map))].map((name) => {
    const path = folder + String(name);
    // The name comes from the repository too: only what is listed, and looks like weights, is fetched.
    if (there.has(path) && path.endsWith(form) && isModelFile(path)) return path;
    throw new DdpmError(
      'ERR_CHECKPOINT',
      `${index}: names ${JSON.stringify(name)}, which the repository does not hold`,
    );
  });
}
