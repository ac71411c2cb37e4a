// Resident memory while something is done again and again. argv: what, how many times. Prints the megabytes after each
// tenth of them. Needs --expose-gc.
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { setImmediate, setTimeout } = require('node:timers/promises');
const { Ddpm, configs } = require('./common.cjs');

const [what, times] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'ddpm-memory-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

// Some 16 MB of weights, in blocks of the size that the C library likes to keep.
const wide = {
  image: { size: 16, channels: 3 },
  unet: { channels: 64, channelMultipliers: [1, 2], attentionResolutions: [] },
};

let ddpm;
const prepare = {
  sample: async () => {
    ddpm = new Ddpm(configs.tiny);
  },
  load: () => new Ddpm(configs.tiny).save(folder),
  loadWide: () => new Ddpm(wide).save(folder),
  drop: () => {},
  checkpoint: async () => {
    ddpm = new Ddpm(wide);
    await ddpm.saveCheckpoint(folder, { keep: 1 });
  },
};
const work = {
  // n = 1 to 8 in turn.
  sample: (i) => ddpm.sample(1 + (i % 8), { sampler: 'ddim', steps: 2, seed: i }),
  load: async () => {
    const loaded = await Ddpm.load(folder);
    await loaded.sample(1, { sampler: 'ddim', steps: 2 });
    await loaded.dispose();
  },
  // Models that nobody disposes of.
  drop: async () => {
    await new Ddpm(wide).sample(1, { sampler: 'ddim', steps: 1 });
  },
};
work.loadWide = work.load;
work.checkpoint = async () => {
  await ddpm.saveCheckpoint(folder, { keep: 1 });
  await (await Ddpm.resume(folder)).dispose();
};

async function main() {
  await prepare[what]();
  const megabytes = [];
  for (let i = 1; i <= times; i++) {
    await work[what](i);
    if (i % (times / 10) !== 0) continue;
    for (let again = 0; again < 3; again++) {
      global.gc();
      await setImmediate();
    }
    // What was collected is given back by threads that end.
    if (what === 'drop') await setTimeout(200);
    megabytes.push(process.memoryUsage().rss / 2 ** 20);
  }
  console.log(JSON.stringify(megabytes));
}

main();
