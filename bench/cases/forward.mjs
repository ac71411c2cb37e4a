// One pass of the network, and its convolutions alone.

import { inTurns, secondsOf } from '../measure.mjs';
import { binding, config, ddpm } from '../package.mjs';
import { compiledAndNot } from '../peers.mjs';

/** @type {import('../index.mjs').Case} */
export async function forward({ rounds, presets, peer, quick }) {
  const rows = [];
  const ratios = [];
  for (const preset of presets) {
    const batch = preset === 'cifar10' ? 8 : 16;
    const x = new Float32Array(batch * 3 * 32 * 32).map((_, i) => Math.sin(i));
    /** @type {import('../measure.mjs').Side[]} */
    const sides = [];
    /** @type {{ dispose(): Promise<void> }[]} */
    const models = [];
    for (const precision of /** @type {const} */ (['float32', 'bfloat16'])) {
      const settings = { ...ddpm.presets[preset], device: /** @type {const} */ ('cpu'), precision };
      const model = new ddpm.Ddpm(settings);
      const native = new (binding.native().Model)(config.nativeModelOptions(config.resolveConfig(settings)));
      models.push(model, native);
      sides.push({ name: `ours ${precision}`, run: () => secondsOf(() => model.predictNoise(x, 500)) });
      const floor = async () => (await native.timeConvolutions({ images: batch, repeats: 1 }).promise)[0];
      // None where the network is not packed: on a processor without the precision, and on the plain path.
      if ((await floor()) !== undefined) sides.push({ name: `convolutions ${precision}`, run: floor });
    }
    if (peer) sides.push(...compiledAndNot(peer, { job: 'forward', preset, batch }, quick));
    const measured = await inTurns(sides, rounds, { first: 2, everyTurn: 1 });
    for (const model of models) await model.dispose();
    rows.push(...measured.map((one) => ({ case: `forward, ${preset}, batch ${batch}`, ...one })));
    const of = (/** @type {string} */ prefix) =>
      Math.min(...measured.filter(({ name }) => name.startsWith(prefix)).map((one) => one.median));
    if (preset !== 'cifar10') continue;
    const bfloat16 = of('ours bfloat16');
    const floor = of('convolutions bfloat16');
    if (Number.isFinite(floor)) {
      ratios.push({ what: 'forward: bfloat16 / its convolutions alone', value: bfloat16 / floor, limit: 1.25 });
    }
    if (!peer) continue;
    ratios.push({ what: 'forward: bfloat16 / fastest peer', value: bfloat16 / of('peer'), limit: 0.62 });
    ratios.push({
      what: 'forward: float32 / fastest float32 peer',
      value: of('ours float32') / of('peer float32'),
      limit: 0.82,
    });
  }
  return { rows, ratios };
}
