/**
 * Calls all that writes, into the folder that is named, from the package's build. Prints what became of each call as JSON:
 * 'saved', or the error's code and first line; and the warnings.
 */
const { join } = require('node:path');
const { Ddpm, fromPixels, imageFolder } = require('../../../dist');

const [folder, hubUrl] = process.argv.slice(2);
const results = {};
const warnings = [];
process.on('warning', ({ name, code }) => {
  if (name === 'DdpmWarning') warnings.push(code);
});

async function attempt(name, work) {
  try {
    const value = await work();
    results[name] = value ?? 'saved';
  } catch (error) {
    results[name] = `${error.name} ${error.code}: ${error.message.split('\n')[0]}`;
  }
}

async function main() {
  const unet = { channels: 4, channelMultipliers: [1], blocksPerLevel: 1, attentionResolutions: [], normGroups: 2 };
  await disposing(new Ddpm({ image: { size: 8, channels: 1 }, unet, device: 'cpu' }), async (ddpm) => {
    const images = await ddpm.sample(2, { sampler: 'ddim', steps: 1, seed: 1 });
    const dataset = await fromPixels(new Uint8Array(4 * 64), { height: 8, width: 8, channels: 1, count: 4 });
    await attempt('save', () => ddpm.save(join(folder, 'model'), { rawWeights: true }));
    await attempt('save over', () => ddpm.save(join(folder, 'model'), { rawWeights: true }));
    await attempt('load', async () => (await Ddpm.load(join(folder, 'model'), { device: 'cpu' })).dispose());
    await attempt('images', async () => void (await images.save(join(folder, 'images', 'x-{index}.png'))));
    await attempt('images over', async () => void (await images.save(join(folder, 'images', 'x-{index}.png'))));
    const cacheFile = join(folder, 'caches', 'pixels.bin');
    const cached = () => imageFolder(join(folder, 'images'), { size: 8, channels: 1, cacheFile });
    await attempt('cache file', async () => void (await cached()));
    await attempt('saveCheckpoint', async () => void (await ddpm.saveCheckpoint(join(folder, 'checkpoints'))));
    await attempt('train', async () => {
      const checkpoint = { directory: join(folder, 'training'), every: 1 };
      const result = await ddpm.train(dataset, { steps: 2, batchSize: 2, checkpoint });
      if (result.checkpointError !== undefined) return `no checkpoint: ${result.checkpointError.code}`;
      return result.checkpoint === undefined ? 'no checkpoint' : 'saved';
    });
    await attempt('resume', async () => (await Ddpm.resume(join(folder, 'checkpoints'), { device: 'cpu' })).dispose());
    if (hubUrl) {
      const options = { hubUrl, cacheDir: join(folder, 'hub'), device: 'cpu' };
      await attempt('fromHub', async () => (await Ddpm.fromHub('someone/ddpm-tiny', options)).dispose());
    }
  });
  // Warnings come a turn later.
  setImmediate(() => console.log(JSON.stringify({ results, warnings })));
}

async function disposing(ddpm, work) {
  try {
    await work(ddpm);
  } finally {
    await ddpm.dispose();
  }
}

main();
