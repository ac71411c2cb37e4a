// What the demo trains: the model, the pictures, and how. bench/ trains the same.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Of a picture, in pixels. */
export const size = 32;
export const trainOptions = { batchSize: 32, horizontalFlip: true };
/** @satisfies {import('../../lib/index.js').DdpmConfig} */
export const config = {
  image: { size, channels: 3 },
  unet: {
    channels: 32,
    channelMultipliers: [1, 2, 4],
    blocksPerLevel: 1,
    attentionResolutions: [8],
    dropout: 0,
    normGroups: 8,
  },
  optimizer: { learningRate: 1e-3, warmupSteps: 100 },
  ema: { decay: 0.995 },
};

/** Yellow faces, by their code points: alike enough to be learned in minutes, different enough to show what was learned. */
const faces = new Set(
  `1f600 1f601 1f603 1f604 1f606 1f609 1f60b 1f60c 1f60e 1f60f 1f610 1f611 1f612 1f614 1f615 1f616 1f617 1f619 1f61b
   1f61c 1f61d 1f61e 1f61f 1f620 1f623 1f626 1f627 1f629 1f62b 1f62c 1f62e 1f62f 1f632 1f635 1f636 1f641 1f642 1f643
   1f644 1f913 1f924 1f928 1f929 1f92a 1f974 1f979 1f97a 1fae4 2639 263a`
    .split(/\s+/)
    .map((code) => `${code}.svg`),
);

/** @returns {typeof import('../../lib/index.js')} */
export function loadPackage() {
  const built = join(root, 'dist', 'index.js');
  if (!existsSync(built))
    throw new Error('The TypeScript is not built yet: run `npm install` (or `npm run build:ts`).');
  return require(built);
}

/** The faces as a data set. */
export function emojiFaces() {
  const folder = dirname(require.resolve('@twemoji/svg/package.json'));
  return loadPackage().imageFolder(folder, { size, channels: 3, filter: (file) => faces.has(file) });
}
