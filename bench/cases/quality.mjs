// Whether bfloat16 learns as well as float32: the demo, from three seeds.
import { config, emojiFaces, trainOptions } from '../../scripts/demo/recipe.mjs';
import { summary } from '../measure.mjs';
import { ddpm } from '../package.mjs';

/** @type {import('../index.mjs').Case} */
export async function quality({ quick }) {
  const dataset = await emojiFaces();
  const steps = quick ? 50 : 1000;
  /** @type {Record<'float32' | 'bfloat16', number[]>} */
  const losses = { float32: [], bfloat16: [] };
  for (const seed of [0, 1, 2]) {
    for (const precision of /** @type {const} */ (['float32', 'bfloat16'])) {
      const model = new ddpm.Ddpm({ ...config, seed, precision, device: 'cpu' });
      /** @type {number[]} */
      const last = [];
      await model.train(dataset, {
        ...trainOptions,
        steps,
        progressEvery: 1,
        onProgress: ({ step, loss }) => void (step > 0.9 * steps && last.push(loss)),
      });
      await model.dispose();
      losses[precision].push(last.reduce((sum, loss) => sum + loss, 0) / last.length);
    }
  }
  const mean = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = Math.max(...losses.float32) - Math.min(...losses.float32);
  return {
    rows: Object.entries(losses).map(([precision, all]) => ({
      case: `loss of the demo's last tenth of ${steps} steps, three seeds`,
      unit: 'loss',
      ...summary(precision, all),
    })),
    ratios: [
      {
        what: 'difference of the mean losses in bfloat16 and float32 / spread of the seeds',
        value: Math.abs(mean(losses.bfloat16) - mean(losses.float32)) / spread,
        limit: 1,
      },
    ],
  };
}
