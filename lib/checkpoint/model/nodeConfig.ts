/**
 * Our own file of a saved model: what a configuration has beyond the network and the diffusion process that diffusers'
 * files describe, so that training can go on as it was. Where a model runs (`device`) is not part of it.
 */
import type { DdpmConfig, ResolvedConfig } from '../../config';
import { invalidLine } from '../../config/messages';
import { DdpmError } from '../../errors';
import { isJsonObject, type JsonObject } from '../formats/json';

/** Goes up when a reader of the version before would misread the file. */
const FORMAT_VERSION = 1;

/** The part of a configuration that is in the file. */
export type NodeConfig = Pick<DdpmConfig, 'optimizer' | 'ema' | 'precision' | 'seed'> & {
  diffusion?: Pick<NonNullable<DdpmConfig['diffusion']>, 'loss'>;
};

export function nodeFile({ diffusion, optimizer, ema, precision, seed }: ResolvedConfig): JsonObject {
  const config: Required<NodeConfig> = { diffusion: { loss: diffusion.loss }, optimizer, ema, precision, seed };
  return { formatVersion: FORMAT_VERSION, ...config };
}

/**
 * What the file says. Only what could reach beyond the file's part is checked here; the values are left to `resolveConfig`.
 *
 * @param name What messages call the file.
 * @throws {DdpmError} `ERR_CHECKPOINT`.
 */
export function configFromNodeFile(name: string, { formatVersion, ...config }: JsonObject): NodeConfig {
  if (formatVersion !== FORMAT_VERSION) {
    const expected = `${FORMAT_VERSION} (a higher one is of a newer version of this package)`;
    throw new DdpmError('ERR_CHECKPOINT', invalidLine(`${name}: formatVersion`, expected, formatVersion));
  }
  refuseOthers(name, config, ['diffusion', 'optimizer', 'ema', 'precision', 'seed']);
  const { diffusion = {} } = config;
  if (!isJsonObject(diffusion)) {
    throw new DdpmError('ERR_CHECKPOINT', invalidLine(`${name}: diffusion`, 'an object', diffusion));
  }
  refuseOthers(`${name}: diffusion`, diffusion, ['loss']);
  return config as NodeConfig;
}

function refuseOthers(path: string, json: JsonObject, known: readonly string[]): void {
  const unknown = Object.keys(json).filter((key) => !known.includes(key));
  if (unknown.length === 0) return;
  throw new DdpmError('ERR_CHECKPOINT', `${path}: expected the keys ${known.join(', ')}, got ${unknown.join(', ')}`);
}
