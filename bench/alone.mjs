// Work that is measured as a whole process: `node alone.mjs memory-sampling PRECISION`, `memory-training PRECISION`,
// `start FOLDER`.
import { readFileSync } from 'node:fs';
import { ddpm, randomImages } from './package.mjs';

const { Ddpm, presets } = ddpm;
const [, , what, argument] = process.argv;

/** @type {Record<string, () => Promise<void>>} */
const works = {
  async 'memory-sampling'() {
    const model = new Ddpm({ ...presets.cifar10, device: 'cpu', precision: precisionOf(argument) });
    await model.sample(8, { steps: 4, batchSize: 8, seed: 1 });
  },
  async 'memory-training'() {
    const model = new Ddpm({ ...presets.cifar10, device: 'cpu', precision: precisionOf(argument) });
    await model.train(await randomImages(64), { steps: 3, batchSize: 8 });
  },
  async start() {
    const model = await Ddpm.load(argument, { device: 'cpu' });
    await model.sample(1, { sampler: 'ddim', steps: 5, seed: 1 });
  },
};

await works[what]();
if (what.startsWith('memory')) console.log(JSON.stringify({ bytes: peakBytes() }));
process.exit();

/** @param {string} text */
function precisionOf(text) {
  return /** @type {'float32' | 'bfloat16'} */ (text);
}

/** The most memory that this process had, resident. */
function peakBytes() {
  return process.platform === 'linux'
    ? 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
    : 1024 * process.resourceUsage().maxRSS;
}
