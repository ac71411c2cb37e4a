// The demo: trains a small DDPM on emoji faces, from the SVG files of @twemoji/svg, and shows what it learned.
//
//   npm run demo             up to 8 minutes of training
//   npm run demo -- --quick  the same in under a minute, for a look at how it goes (the pictures will be rough)
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, '..');

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    seed: { type: 'string', default: '0' },
    out: { type: 'string', default: join(root, 'out', 'demo') },
  },
});

/** Training time, and pictures drawn: rows and columns of the grid. */
const budget = flags.quick ? { seconds: 25, columns: 6 } : { seconds: 60 * Number(flags.minutes ?? 7.5), columns: 8 };

const size = 32;
const batchSize = 32;
const config = {
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
  seed: Number(flags.seed),
};

/** Faces: code points of Unicode's emoticons and the later blocks of faces, without those that are mostly other things. */
const faceCodes = [
  ...range(0x1f600, 0x1f62f),
  ...range(0x1f630, 0x1f644),
  ...range(0x1f910, 0x1f917),
  ...range(0x1f920, 0x1f92f),
  ...range(0x1f970, 0x1f976),
];

const isFace = new Set(faceCodes.map((code) => `${code.toString(16)}.svg`));

/** @param {number} first @param {number} last */
function range(first, last) {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** @returns {typeof import('../lib/index.js')} */
function loadPackage() {
  const built = join(root, 'dist', 'index.js');
  if (!existsSync(built))
    throw new Error('The TypeScript is not built yet: run `npm install` (or `npm run build:ts`).');
  return require(built);
}

/** Minutes and seconds. @param {number} seconds */
function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** One line that is written over on a terminal; elsewhere, a line every few seconds. */
function progressLine() {
  let last = 0;
  return {
    /** @param {string} text */
    show(text, final = false) {
      if (process.stdout.isTTY) {
        process.stdout.write(`\r\x1b[K${text}${final ? '\n' : ''}`);
      } else if (final || Date.now() - last > 10_000) {
        last = Date.now();
        console.log(text);
      }
    },
  };
}

async function main() {
  const { Ddpm, imageFolder } = loadPackage();
  const folder = dirname(require.resolve('@twemoji/svg/package.json'));
  const dataset = await imageFolder(folder, { size, channels: 3, filter: (file) => isFace.has(file) });
  const ddpm = new Ddpm(config);
  console.log(
    `Training on ${dataset.count} emoji faces of ${size}×${size} pixels: ` +
      `${(ddpm.parameterCount / 1e6).toFixed(1)} million parameters, on ${ddpm.device}, about ${clock(budget.seconds)} minutes.`,
  );
  await train(ddpm, dataset);

  const line = progressLine();
  const count = budget.columns ** 2;
  const images = await ddpm.sample(count, {
    sampler: 'ddim',
    steps: 50,
    batchSize: 32,
    seed: config.seed,
    onProgress: ({ step, totalSteps }) =>
      line.show(`drawing ${count} pictures  ${Math.floor((100 * step) / totalSteps)}%`),
  });
  line.show(`drawing ${count} pictures  100%`, true);

  mkdirSync(flags.out, { recursive: true });
  const grid = images.grid({ columns: budget.columns, padding: 4 });
  const path = join(flags.out, 'samples.png');
  // Four times as large, in hard pixels, so that they can be looked at on a screen.
  await sharp(await grid.png())
    .resize(grid.width * 4, grid.height * 4, { kernel: 'nearest' })
    .png()
    .toFile(path);
  await ddpm.save(join(flags.out, 'model'));
  await ddpm.dispose();
  console.log(`Samples: ${relative(process.cwd(), path) || path}`);
  console.log(`Model:   ${relative(process.cwd(), join(flags.out, 'model'))} (Ddpm.load reads it)`);
}

/**
 * As many steps as fit into the budget on this machine: a few to learn its pace, then the rest.
 *
 * @param {import('../lib/index.js').Ddpm} ddpm
 * @param {import('../lib/index.js').Dataset} dataset
 */
async function train(ddpm, dataset) {
  const line = progressLine();
  const options = { batchSize, horizontalFlip: true };
  await ddpm.train(dataset, { ...options, steps: 3 });
  const { seconds } = await ddpm.train(dataset, { ...options, steps: 13 });
  const steps = Math.max(20, Math.round(budget.seconds / (seconds / 10)));
  const started = Date.now();
  const stop = new AbortController();
  const limit = setTimeout(() => stop.abort(), budget.seconds * 1000);
  let loss = NaN;
  try {
    await ddpm.train(dataset, {
      ...options,
      steps,
      progressEvery: 10,
      signal: stop.signal,
      onProgress: (progress) => {
        loss = progress.loss;
        const left = Math.min(progress.etaSeconds, budget.seconds - (Date.now() - started) / 1000);
        line.show(
          `step ${progress.step}/${steps}  loss ${progress.loss.toFixed(4)}  ` +
            `${progress.imagesPerSecond.toFixed(0)} images/s  ${clock(left)} left`,
        );
      },
    });
  } catch (error) {
    if (!(error instanceof Error && error.name === 'AbortError')) throw error; // the time is up: what was learned is kept
  } finally {
    clearTimeout(limit);
  }
  line.show(`trained ${ddpm.step} steps in ${clock((Date.now() - started) / 1000)}  loss ${loss.toFixed(4)}`, true);
}

await main();
