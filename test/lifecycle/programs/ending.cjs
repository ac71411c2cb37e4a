// How a process ends while models are at work. argv: the model, the work, the ending.
const { mkdtempSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Ddpm, configs, images, once } = require('./common.cjs');

const [model, work, ending] = process.argv.slice(2);
const config = configs[model];
const endless = 1e9;

const endings = {
  exit: () => process.exit(7),
  // Ways past the event 'exit', or past those of its listeners that come later.
  reallyExit: () => process.reallyExit(7),
  unheard: () => {
    process.removeAllListeners('exit');
    process.exit(7);
  },
  overthrown: () => {
    process.prependListener('exit', () => {
      throw new Error('thrown on purpose');
    });
    process.exit(7);
  },
  throw: () => {
    throw new Error('thrown on purpose');
  },
  reject: () => {
    Promise.reject(new Error('rejected on purpose'));
  },
  SIGTERM: () => process.kill(process.pid, 'SIGTERM'),
  SIGINT: () => process.kill(process.pid, 'SIGINT'),
  // What Node does when nothing is left to do: nothing to be done here.
  natural: () => {},
};
// What has ended by itself was not at work any more: that ending would show nothing.
let isOver = false;
const end = () => {
  if (!isOver) return endings[ending]();
  console.error(`${work}: over before the process was to end`);
  process.exit(70);
};

const works = {
  async train() {
    await new Ddpm(config).train(await images(config), { steps: endless, batchSize: 2, onProgress: once(end) });
  },
  async sample() {
    await new Ddpm(config).sample(2, { onProgress: once(end) });
  },
  async everything() {
    const dataset = await images(config);
    const onProgress = once(end);
    const calls = [];
    for (const ddpm of [new Ddpm(config), new Ddpm(config)]) {
      calls.push(ddpm.train(dataset, { steps: endless, batchSize: 2 }));
      for (let i = 0; i < 3; i++) calls.push(ddpm.sample(2, { onProgress }));
      calls.push(ddpm.predictNoise(new Float32Array(config.image.channels * 64 * (model === 'tiny' ? 1 : 16)), 3));
    }
    await Promise.all(calls);
  },
  async callback() {
    await new Ddpm(config).train(await images(config), { steps: endless, batchSize: 2, onProgress: end });
  },
  async start() {
    new Ddpm(config);
    end();
  },
  // In the middle of a process's first step, in which LibTorch makes most of what it keeps: one that takes long.
  async first() {
    const dataset = await images(config);
    setTimeout(end, 200 + 200 * Math.random());
    await new Ddpm(config).train(dataset, { steps: 1, batchSize: 8, gradientAccumulation: 10_000 });
  },
  async save() {
    await withFolder(async (folder) => {
      setTimeout(end, 20 * Math.random());
      const ddpm = new Ddpm(config);
      for (;;) await ddpm.save(folder);
    });
  },
  async checkpoint() {
    await withFolder(async (directory) => {
      await new Ddpm(config).train(await images(config), {
        steps: endless,
        batchSize: 2,
        checkpoint: { directory, every: 1, keep: 1, metric: once(end) },
      });
    });
  },
  async resume() {
    await withFolder(async (directory) => {
      await new Ddpm(config).saveCheckpoint(directory);
      setTimeout(end, 20 * Math.random());
      for (;;) await Ddpm.resume(directory);
    });
  },
  async load() {
    await withFolder(async (folder) => {
      await new Ddpm(config).save(folder);
      setTimeout(end, 20 * Math.random());
      for (;;) await Ddpm.load(folder);
    });
  },

  // Over at once, to see that it shows.
  async nothing() {
    setTimeout(end, 10);
  },

  // To go with a natural end.
  async finish() {
    const ddpm = new Ddpm(config);
    await ddpm.train(await images(config), { steps: 3, batchSize: 2 });
    console.log((await ddpm.sample(1, { steps: 2 })).count);
  },
  async disposed() {
    const ddpm = new Ddpm(config);
    console.log((await ddpm.sample(1, { steps: 2 })).count);
    await ddpm.dispose();
  },
  async pending() {
    const ddpm = new Ddpm(config);
    ddpm.sample(1, { steps: 50 }).then((pictures) => console.log(pictures.count));
    ddpm.dispose();
  },
  async unused() {
    new Ddpm(config);
  },
};

/** Whoever runs this removes the folder: not every ending lets this process do it. */
async function withFolder(use) {
  await use(mkdtempSync(join(tmpdir(), 'ddpm-ending-')));
}

works[work]().then(() => {
  isOver = true;
});
