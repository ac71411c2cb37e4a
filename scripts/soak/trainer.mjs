// One process of a soak run: goes on from the checkpoints of its folder, or begins, writes down all that it does, and kills
// itself where it was told to.
//
//   node trainer.mjs <folder> <steps> <plan>
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { watchWrites } from './powerCut.mjs';

/**
 * @typedef {object} Plan
 * @property {'report' | 'save' | 'read' | 'never'} at When to die: after the n-th report that follows a save, before the n-th
 *   call of the file system in a save that is not the first, or before the n-th file of a checkpoint is opened.
 * @property {number} n From 1.
 * @property {number} [save] Which save of the process, from 2.
 * @property {boolean} [cut] Whether the power goes as well, and takes what was not flushed.
 * @property {'fsync' | 'step'} [fault] What to do wrong, to see that it shows: leave out the fsync of the moments' file, or go
 *   on one step too far.
 */

const [, , folder, steps, planText] = process.argv;
/** @type {Plan} */
const plan = JSON.parse(planText);
const directory = join(folder, 'checkpoints');
const file = openSync(join(folder, 'log'), 'a');

/**
 * One line in one write: a kill leaves it out or whole, but for a line break.
 *
 * @param {string} what
 * @param {unknown} value
 */
const log = (what, value) => writeSync(file, `${JSON.stringify([what, value])}\n`);

const counts = { reads: 0, saves: 0, calls: 0, saved: 0, reports: 0 };
let ended = false;
const disk = await watchWrites(folder, {
  onCall(call, path) {
    if (call === 'read') {
      if (counts.saves === 0 && ++counts.reads === plan.n && plan.at === 'read') die(`reading ${path}`);
      return;
    }
    if (!path.includes('.ddpm-new-')) return;
    if (call === 'mkdir' && /\.ddpm-new-\w+$/.test(path)) {
      counts.saves++;
      counts.calls = 0;
    }
    counts.calls++;
    if (plan.at === 'save' && counts.saves >= (plan.save ?? 2) && counts.calls === plan.n) die(`${call} of ${path}`);
  },
  skipsFlush: (path) => plan.fault === 'fsync' && path.includes('optimizer.safetensors'),
});

/** @param {string} where */
function die(where) {
  if (ended) return;
  const inSave = existsSync(directory) && readdirSync(directory).some((name) => name.startsWith('.ddpm-new-'));
  log('kill', { at: plan.at, where, inSave });
  if (plan.cut) disk.cut();
  process.kill(process.pid, 'SIGKILL');
}

// Only now, so that the writes of the package are watched.
const require = createRequire(import.meta.url);
/** @type {typeof import('../../lib/index.js')} */
const { Ddpm, fromPixels } = require('../..');

if (plan.fault === 'step') {
  /** @type {{ -readonly [K in keyof typeof import('../../lib/checkpoint/state/read.js')]: any }} */
  const reading = require('../../dist/checkpoint/state/read.js');
  /** @type {typeof import('../../lib/checkpoint/state/read.js').loadState} */
  const loadState = reading.loadState;
  /** @type {typeof loadState} */
  const oneStepOn = ({ folder: place, manifest }, ...rest) => {
    const counters = { ...manifest.counters, step: manifest.counters.step + 1 };
    return loadState({ folder: place, manifest: { ...manifest, counters } }, ...rest);
  };
  reading.loadState = oneStepOn;
}

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
  checkpoint: {
    directory,
    every: 2,
    keep: 3,
    onSave: ({ step }) => {
      counts.saved++;
      log('saved', step);
    },
  },
  onProgress: ({ step, loss, learningRate, gradientNorm }) => {
    log('progress', { step, loss, learningRate, gradientNorm });
    if (plan.at === 'report' && counts.saved > 0 && ++counts.reports === plan.n) die(`report of step ${step}`);
  },
});
ended = true;

const hash = createHash('sha256');
for (const weights of /** @type {const} */ (['raw', 'ema'])) {
  for (const { data } of (await ddpm.parameters({ weights })).values()) hash.update(data);
}
const last = result.checkpoint ?? join(directory, `step-${String(result.step).padStart(9, '0')}`);
const { counters } = JSON.parse(readFileSync(join(last, 'checkpoint.json'), 'utf8'));
log('calls', counts.calls);
log('end', { step: counters.step, imagesSeen: counters.imagesSeen, weights: hash.digest('hex') });
closeSync(file);
