/** A model's whole configuration. */
import { emaDefaults, modelDefaults, optimizerDefaults } from './defaults';
import { resolveDiffusion } from './diffusion';
import { deepFreeze } from './freeze';
import { resolveImage } from './image';
import { configSchema } from './modelSchema';
import { parseOptions, withDefaults } from './schema';
import type { DdpmConfig, ResolvedConfig } from './types';
import { resolveUNet } from './unet';

/**
 * The configuration with every option present, deeply frozen; the value given is not touched.
 *
 * @throws {DdpmError} `ERR_CONFIG`: an option is unknown, of the wrong type, out of range, or does not go with another.
 */
export function resolveConfig(config: DdpmConfig): ResolvedConfig {
  const given = parseOptions(configSchema, config, 'config');
  const image = resolveImage(given.image);
  const { device, precision, seed } = given;
  const model = withDefaults({ device, precision, seed }, modelDefaults);
  return deepFreeze({
    image,
    unet: resolveUNet(given.unet, image, given.image),
    diffusion: resolveDiffusion(given.diffusion),
    optimizer: withDefaults(given.optimizer, optimizerDefaults),
    ema: withDefaults(given.ema, emaDefaults),
    device: model.device,
    precision: model.precision === 'auto' ? 'float32' : model.precision,
    seed: model.seed,
  });
}
