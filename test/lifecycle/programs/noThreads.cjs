// What happens where the system gives no thread. argv: whether a worker asks, and for what.
const { Worker, isMainThread, workerData } = require('node:worker_threads');

const [where, what] = workerData ?? process.argv.slice(2);

const works = {
  /** A model's thread: what the error says. */
  model: ({ Ddpm, configs }) => {
    try {
      new Ddpm(configs.wide);
    } catch ({ code, message }) {
      console.log(`${code}: ${message}`);
    }
  },
  /** Threads of OpenMP, for a model at work: nothing of JavaScript learns of it. */
  training: async ({ Ddpm, configs, images }) => {
    const other = new Ddpm(configs.tiny);
    other.sample(1);
    await new Ddpm(configs.wide).train(await images(configs.wide), { steps: 1e9 });
  },
};

if (where === 'worker' && isMainThread) new Worker(__filename, { workerData: [where, what] });
else works[what](require('./common.cjs'));
