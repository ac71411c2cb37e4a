/** Which files of a repository a model needs. */
import { isJsonObject, type JsonObject } from '../checkpoint/json';
import { layout } from '../checkpoint/layout';
import { DdpmError } from '../errors';

/** What describes a model beside its weights, in today's layout and in that of 2022, which has no folders. */
const descriptions: Record<'folders' | 'flat', readonly string[]> = {
  folders: [layout.index, layout.unetConfig, layout.schedulerConfig, layout.nodeConfig],
  flat: [layout.index, 'config.json', 'scheduler_config.json', layout.nodeConfig],
};

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
  if ([...descriptions.folders, ...descriptions.flat].includes(path)) return true;
  return WEIGHTS_NAME.test(path.startsWith('unet/') ? path.slice('unet/'.length) : path);
}

/**
 * What to take of the files of a repository: the descriptions, and one form of the weights. Safetensors go before
 * pickles, one file before shards.
 *
 * @param variant The weights' variant ('fp16'); undefined for those without one.
 * @throws {DdpmError} `ERR_CHECKPOINT`: there are no weights, or none of the variant.
 */
export function selectFiles(paths: readonly string[], variant?: string): Selection {
  const there = new Set(paths);
  const folder = there.has(layout.unetConfig) ? 'unet/' : '';
  const files = descriptions[folder ? 'folders' : 'flat'].filter((path) => there.has(path));
  const suffix = variant === undefined ? '' : `.${variant}`;
  for (const form of ['safetensors', 'bin']) {
    const whole = `${folder}diffusion_pytorch_model${suffix}.${form}`;
    if (there.has(whole)) return { files: [...files, whole], shardIndex: undefined };
    const index = `${folder}diffusion_pytorch_model.${form}.index${suffix}.json`;
    if (there.has(index)) return { files: [...files, index], shardIndex: index };
  }
  const others = paths.filter((path) => path.startsWith(folder) && WEIGHTS_NAME.test(path.slice(folder.length)));
  const wanted = variant === undefined ? 'weights' : `weights of the variant '${variant}'`;
  throw new DdpmError(
    'ERR_CHECKPOINT',
    `expected ${wanted} (${folder}diffusion_pytorch_model${suffix}.safetensors), got ${others.join(', ') || 'none'}`,
  );
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
