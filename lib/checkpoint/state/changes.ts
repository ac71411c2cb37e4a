/** What is other in a training that goes on than it was before. */
import { inspect } from 'node:util';
import type { ResolvedConfig } from '../../config';
import { DdpmError } from '../../errors';
import type { Manifest, TrainingRecord } from './manifest';
import { versions } from './versions';

/** What a resumed model has otherwise than its checkpoint, each as `name: new value (was: old value)`. */
export function modelChanges({ config: before, versions: oldVersions }: Manifest, now: ResolvedConfig): string[] {
  const { device, precision, optimizer, ema } = now;
  return [
    ...differences('versions.', oldVersions, versions()),
    ...differences('', { device: before.device, precision: before.precision }, { device, precision }),
    ...differences('optimizer.', before.optimizer, optimizer),
    ...differences('ema.', before.ema, ema),
  ];
}

/**
 * Options of `train()` that a resumed training has otherwise than before.
 *
 * @throws {DdpmError} `ERR_DATASET`: the images are others, and that is not accepted.
 */
export function trainingChanges(
  before: TrainingRecord,
  now: TrainingRecord,
  datasetChange: 'refuse' | 'accept',
): string[] {
  const { dataset: oldImages, ...oldOptions } = before;
  const { dataset: newImages, ...newOptions } = now;
  const changes = differences('', oldOptions, newOptions);
  if (oldImages.sha256 === newImages.sha256) return changes;
  const text = ({ count, height, width, channels, sha256 }: TrainingRecord['dataset']) =>
    `${count} images of ${height}×${width}×${channels} (SHA-256 ${sha256.slice(0, 12)}…)`;
  if (datasetChange === 'refuse') {
    throw new DdpmError(
      'ERR_DATASET',
      `dataset: expected the images that the checkpoint was trained on, ${text(oldImages)}, got ${text(newImages)}; ` +
        "datasetChange: 'accept' goes on with others",
    );
  }
  return [...changes, `dataset: ${text(newImages)} (was: ${text(oldImages)})`];
}

function differences<T extends object>(prefix: string, before: T, now: T): string[] {
  const keys = Object.keys(now) as (keyof T & string)[];
  return keys
    .filter((key) => before[key] !== now[key])
    .map((key) => `${prefix}${key}: ${inspect(now[key])} (was: ${inspect(before[key])})`);
}
