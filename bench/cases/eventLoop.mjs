// How long the event loop waits while the large model trains and samples at once.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { summary } from '../measure.mjs';
import { ddpm, randomImages } from '../package.mjs';

/** @type {import('../index.mjs').Case} */
export async function eventLoop({ quick }) {
  const model = new ddpm.Ddpm({ ...ddpm.presets.cifar10, device: 'cpu' });
  const dataset = await randomImages(64);
  await model.train(dataset, { steps: 1, batchSize: 8 });
  const resolution = 1;
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  await Promise.all([
    model.train(dataset, { steps: quick ? 3 : 20, batchSize: 8 }),
    model.sample(8, { sampler: 'ddim', steps: quick ? 3 : 20, seed: 1 }),
  ]);
  delay.disable();
  await model.dispose();
  // The histogram holds the whole time from tick to tick.
  const late = (/** @type {number} */ nanoseconds) => nanoseconds / 1e9 - resolution / 1000;
  const rows = [50, 99, 100].map((percentile) => ({
    case: 'event-loop delay while training and sampling, cifar10',
    ...summary(percentile === 100 ? 'longest' : `p${percentile}`, [late(delay.percentile(percentile))]),
  }));
  return {
    rows,
    ratios: [{ what: 'event-loop delay, p99, in milliseconds', value: 1000 * rows[1].median, limit: 10 }],
  };
}
