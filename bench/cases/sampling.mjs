// Ancestral sampling, and DDIM in few steps.

import { inTurns, secondsOf } from '../measure.mjs';
import { ddpm } from '../package.mjs';

/** @type {import('../index.mjs').Case} */
export async function sampling({ rounds, presets, peer, quick }) {
  const rows = [];
  const ratios = [];
  // A thousand steps take long: fewer rounds, and of the large model few steps only.
  const few = Math.max(1, Math.floor(rounds / 3));
  for (const preset of presets) {
    const batch = preset === 'cifar10' ? 8 : 16;
    const steps = quick ? 20 : 1000;
    /** @type {InstanceType<typeof ddpm.Ddpm>[]} */
    const models = [];
    const ancestral = [];
    const ddim = [];
    for (const precision of /** @type {const} */ (['float32', 'bfloat16'])) {
      const model = new ddpm.Ddpm({ ...ddpm.presets[preset], device: 'cpu', precision });
      models.push(model);
      const draw = (/** @type {import('../../lib/index.js').SampleOptions} */ how) =>
        secondsOf(() => model.sample(batch, { batchSize: batch, seed: 1, ...how }));
      ancestral.push({ name: `ours ${precision}`, run: () => draw({ steps }) });
      ddim.push({ name: `ours ${precision}`, run: () => draw({ sampler: 'ddim', steps: 50 }) });
    }
    const measured = await inTurns(ddim, few);
    rows.push(...measured.map((one) => ({ case: `DDIM, 50 steps, ${preset}, ${batch} images`, ...one })));
    if (preset === 'tiny') {
      if (peer) ancestral.push(peer.side('peer pipeline', { job: 'sampling', preset, batch, steps }));
      const long = await inTurns(ancestral, few, { first: 0 });
      rows.push(...long.map((one) => ({ case: `ancestral, ${steps} steps, ${preset}, ${batch} images`, ...one })));
      const fastest = Math.min(...long.filter(({ name }) => name.startsWith('ours')).map((one) => one.median));
      const pipeline = long.find(({ name }) => name === 'peer pipeline')?.median;
      if (pipeline !== undefined) {
        ratios.push({
          what: `${steps} ancestral steps, tiny: ours / peer's pipeline`,
          value: fastest / pipeline,
          limit: 0.35,
        });
        const float32 = /** @type {number} */ (long[0].median);
        ratios.push({
          what: `${steps} ancestral steps, tiny: ours in float32 / peer's pipeline`,
          value: float32 / pipeline,
        });
      }
    }
    for (const model of models) await model.dispose();
  }
  return { rows, ratios };
}
