// What the programs of this folder share. They run in processes of their own, from the package's build.
const face = require('../../../dist');

const configs = {
  tiny: {
    image: { size: 8, channels: 1 },
    unet: {
      channels: 8,
      channelMultipliers: [1, 2],
      blocksPerLevel: 1,
      attentionResolutions: [4],
      normGroups: 4,
      dropout: 0.1,
    },
  },
  // Whose steps take long enough to be ended in.
  wide: {
    image: { size: 32, channels: 3 },
    unet: { channels: 32, channelMultipliers: [1, 2], blocksPerLevel: 1, attentionResolutions: [16], normGroups: 8 },
  },
  large: face.presets.cifar10,
};

/** Sixteen images for one of the models. */
function images({ image }) {
  const height = image.size ?? image.height;
  const width = image.size ?? image.width;
  const levels = new Uint8Array(16 * height * width * image.channels).map((_, i) => 37 * i);
  return face.fromPixels(levels, { count: 16, height, width, channels: image.channels });
}

/** Calls `then` soon after the first call of what it returns: at no certain place of the work that calls it. */
function once(then) {
  let called = false;
  return () => {
    if (called) return;
    called = true;
    setTimeout(then, 50 * Math.random());
  };
}

module.exports = { ...face, configs, images, once };
