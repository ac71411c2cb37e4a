// One step of training: batch, both passes, clipping, Adam and the moving average.

import { inTurns } from '../measure.mjs';
import { ddpm, randomImages } from '../package.mjs';
import { compiledAndNot } from '../peers.mjs';

/** Steps that are timed together. */
const together = 2;

/** @type {import('../index.mjs').Case} */
export async function training({ rounds, presets, peer, quick }) {
  const rows = [];
  const ratios = [];
  const dataset = await randomImages(128);
  for (const preset of presets) {
    const batchSize = preset === 'cifar10' ? 8 : 32;
    /** @type {InstanceType<typeof ddpm.Ddpm>[]} */
    const models = [];
    const sides = /** @type {const} */ (['float32', 'bfloat16']).map((precision) => {
      const model = new ddpm.Ddpm({ ...ddpm.presets[preset], device: 'cpu', precision });
      models.push(model);
      const run = async () => {
        const { seconds } = await model.train(dataset, {
          steps: model.step + together,
          batchSize,
          horizontalFlip: true,
        });
        return seconds / together;
      };
      return { name: `ours ${precision}`, run };
    });
    if (peer)
      sides.push(...compiledAndNot(peer, { job: 'training', preset, batch: batchSize, times: together }, quick));
    const measured = await inTurns(sides, rounds, { first: 2, everyTurn: 1 });
    for (const model of models) await model.dispose();
    rows.push(...measured.map((one) => ({ case: `training step, ${preset}, batch ${batchSize}`, ...one })));
    if (!peer || preset !== 'cifar10') continue;
    const of = (/** @type {string} */ prefix) =>
      Math.min(...measured.filter(({ name }) => name.startsWith(prefix)).map((one) => one.median));
    ratios.push({
      what: 'training step: bfloat16 / fastest peer',
      value: of('ours bfloat16') / of('peer'),
      limit: 0.72,
    });
    ratios.push({
      what: 'training step: float32 / fastest float32 peer',
      value: of('ours float32') / of('peer float32'),
      limit: 0.85,
    });
  }
  return { rows, ratios };
}
