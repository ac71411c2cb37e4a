// One process of a soak run: goes on from the checkpoints of its folder, or begins, and writes down all that it does.
//
//   node trainer.mjs <folder> <steps>
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** @type {typeof import('../../lib/index.js')} */
const { Ddpm, fromPixels } = createRequire(import.meta.url)('../..');

const [, , folder, steps] = process.argv;
const directory = join(folder, 'checkpoints');
const file = openSync(join(folder, 'log'), 'a');

/**
 * One line in one write: a kill leaves it out or whole, but for a line break.
 *
 * @param {string} what
 * @param {unknown} value
 */
const log = (what, value) => writeSync(file, `${JSON.stringify([what, value])}\n`);

// Settings of a change from step to step wherever there are any: warm-up, dropout, mirroring, accumulation, classes.
/** @type {import('../../lib/index.js').DdpmConfig} */
const config = {
  image: { size: 8, channels: 1 },
  unet: {
    channels: 16,
    channelMultipliers: [1, 2],
    blocksPerLevel: 1,
    attentionResolutions: [4],
    normGroups: 4,
    dropout: 0.1,
    classes: 3,
  },
  optimizer: { learningRate: 1e-3, warmupSteps: 100 },
  device: 'cpu',
  seed: 11,
};
const count = 50;
const levels = Uint8Array.from({ length: count * 64 }, (_, i) => (i * 7919 + (i >> 6) * 31) % 256);
const labels = Array.from({ length: count }, (_, i) => i % 3);
const dataset = await fromPixels(levels, { count, height: 8, width: 8, channels: 1, labels });

process.on('warning', ({ message }) => log('warning', message));
const ddpm = await Ddpm.resume(directory, { ifNone: config });
log('start', ddpm.step);
const result = await ddpm.train(dataset, {
  steps: Number(steps),
  batchSize: 8,
  gradientAccumulation: 2,
  horizontalFlip: true,
  checkpoint: { directory, every: 2, keep: 3, onSave: ({ step }) => log('saved', step) },
  onProgress: ({ step, loss, learningRate, gradientNorm }) =>
    log('progress', { step, loss, learningRate, gradientNorm }),
});

const hash = createHash('sha256');
for (const weights of /** @type {const} */ (['raw', 'ema'])) {
  for (const { data } of (await ddpm.parameters({ weights })).values()) hash.update(data);
}
const last = result.checkpoint ?? join(directory, `step-${String(result.step).padStart(9, '0')}`);
const { counters } = JSON.parse(readFileSync(join(last, 'checkpoint.json'), 'utf8'));
log('end', { step: counters.step, imagesSeen: counters.imagesSeen, weights: hash.digest('hex') });
closeSync(file);
