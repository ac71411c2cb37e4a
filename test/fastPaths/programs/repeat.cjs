// A training, and pictures drawn from it, as hashes on one line of JSON. argv: the precision, a folder for checkpoints, and
// the step at which to stop and to resume from it (0: never).
const { createHash } = require('node:crypto');
const { Ddpm, fromPixels } = require('../../../dist');

const steps = 6;

// Maps from 32×32 down to 8×8: fewer images than threads are cut in pieces.
const config = (precision) => ({
  image: { size: 32, channels: 3 },
  unet: {
    channels: 12,
    channelMultipliers: [1, 2, 3],
    blocksPerLevel: 1,
    attentionResolutions: [8],
    normGroups: 4,
    dropout: 0.2,
    classes: 2,
  },
  optimizer: { learningRate: 1e-3, warmupSteps: 0 },
  device: process.env.DDPM_TEST_DEVICE || 'cpu',
  precision,
  seed: 4,
});

const hash = (...arrays) => {
  const all = createHash('sha256');
  for (const array of arrays) all.update(array);
  return all.digest('hex');
};

async function main() {
  const [precision, folder, stop] = process.argv.slice(2);
  const levels = Uint8Array.from({ length: 5 * 32 * 32 * 3 }, (_, i) => (i * i) % 251);
  const images = await fromPixels(levels, { count: 5, height: 32, width: 32, channels: 3, labels: [0, 1, 0, 1, 1] });
  const options = { batchSize: 1, gradientAccumulation: 3, horizontalFlip: true };

  let ddpm = new Ddpm(config(precision));
  if (Number(stop) > 0) {
    await ddpm.train(images, { ...options, steps: Number(stop) });
    await ddpm.saveCheckpoint(folder);
    await ddpm.dispose();
    ddpm = await Ddpm.resume(folder);
  }
  await ddpm.train(images, { ...options, steps });
  const sets = await Promise.all(['raw', 'ema'].map((weights) => ddpm.parameters({ weights })));
  const sample = (count) =>
    ddpm.sample(count, { sampler: 'ddim', steps: 3, eta: 1, seed: 8, output: 'float32', classLabels: 1 });
  const alone = await sample(1);
  const three = await sample(3);
  console.log(
    JSON.stringify({
      weights: hash(...sets.flatMap((set) => [...set.values()].map(({ data }) => data))),
      alone: hash(alone.data),
      three: hash(three.data),
    }),
  );
  await ddpm.dispose();
}

main();
