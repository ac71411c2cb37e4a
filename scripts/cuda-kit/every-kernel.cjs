// Runs every kernel of ours on the card: training with dropout and classes, sampling by both samplers, in both precisions, in
// packs of channels and one by one.
const { Ddpm, fromPixels } = require('../..');

const networks = [
  { channels: 32, normGroups: 8 },
  { channels: 6, normGroups: 3 },
].map((unet) => ({
  image: { height: 12, width: 20, channels: 3 },
  unet: { ...unet, channelMultipliers: [1, 2], blocksPerLevel: 1, attentionResolutions: [6], dropout: 0.2, classes: 3 },
}));

async function main() {
  const levels = Uint8Array.from({ length: 5 * 12 * 20 * 3 }, (_, i) => (i * i) % 251);
  const labels = [0, 1, 2, 0, 1];
  const images = await fromPixels(levels, { count: 5, height: 12, width: 20, channels: 3, labels });
  for (const network of networks) {
    for (const precision of ['float32', 'bfloat16']) {
      const model = new Ddpm({ ...network, device: 'cuda', precision });
      await model.train(images, { steps: 3, batchSize: 3, gradientAccumulation: 2, horizontalFlip: true });
      await model.sample(3, { steps: 3, seed: 1, classLabels: labels.slice(0, 3) });
      await model.sample(2, { sampler: 'ddim', steps: 2, eta: 1, seed: 1, classLabels: 1, output: 'float32' });
      await model.dispose();
    }
  }
}

main();
