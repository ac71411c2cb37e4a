// The demo: trains a small DDPM on emoji faces, from the SVG files of @twemoji/svg, and shows what it learned.
//
//   npm run demo             up to 8 minutes of training
//   npm run demo -- --quick  the same in under a minute, for a look at how it goes (the pictures will be rough)
import { mkdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import * as recipe from './demo/recipe.mjs';

const { emojiFaces, loadPackage, size, trainOptions } = recipe;
const root = fileURLToPath(new URL('..', import.meta.url));

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    seed: { type: 'string', default: '0' },
    out: { type: 'string', default: join(root, 'out', 'demo') },
  },
});

const trainingSeconds = flags.minutes === undefined ? (flags.quick ? 25 : 450) : 60 * Number(flags.minutes);
if (!(trainingSeconds > 0)) throw new Error(`--minutes: expected a positive number, got ${flags.minutes}`);

/** How the pictures are drawn. @type {import('../lib/index.js').SampleOptions} */
const sampling = flags.quick ? { sampler: 'ddim', steps: 40, eta: 1 } : { sampler: 'ddpm', steps: 250 };
const columns = flags.quick ? 6 : 8;
const config = { ...recipe.config, seed: Number(flags.seed) };

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
  const dataset = await emojiFaces();
  const ddpm = await fastestModel(dataset);
  console.log(
    `Training on ${dataset.count} emoji faces of ${size}×${size} pixels: ` +
      `${(ddpm.parameterCount / 1e6).toFixed(1)} million parameters, ${ddpm.config.precision} on ${ddpm.device}, for ${clock(trainingSeconds)} minutes.`,
  );
  await train(ddpm, dataset);

  const line = progressLine();
  const count = columns ** 2;
  const images = await ddpm.sample(count, {
    ...sampling,
    batchSize: 32,
    seed: config.seed,
    onProgress: ({ step, totalSteps }) =>
      line.show(`drawing ${count} pictures  ${Math.floor((100 * step) / totalSteps)}%`),
  });
  line.show(`drawing ${count} pictures  100%`, true);

  mkdirSync(flags.out, { recursive: true });
  const grid = images.grid({ columns, padding: 4 });
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
 * Trains until the time is up.
 *
 * @param {import('../lib/index.js').Ddpm} ddpm
 * @param {import('../lib/index.js').Dataset} dataset
 */
async function train(ddpm, dataset) {
  const line = progressLine();
  const stop = AbortSignal.timeout(Math.round(trainingSeconds * 1000));
  const started = Date.now();
  let loss = NaN;
  try {
    await ddpm.train(dataset, {
      ...trainOptions,
      steps: Number.MAX_SAFE_INTEGER,
      progressEvery: 10,
      signal: stop,
      onProgress: (progress) => {
        loss = progress.loss;
        const left = trainingSeconds - (Date.now() - started) / 1000;
        line.show(
          `step ${progress.step}  loss ${loss.toFixed(4)}  ` +
            `${progress.imagesPerSecond.toFixed(0)} images/s  ${clock(left)} left`,
        );
      },
    });
  } catch (error) {
    if (!stop.aborted) throw error; // else the time is up, and what was learned is kept
  }
  line.show(`trained ${ddpm.step} steps in ${clock((Date.now() - started) / 1000)}  loss ${loss.toFixed(4)}`, true);
}

/**
 * A model in the precision that trains faster on this machine: bfloat16 where the processor computes in it.
 *
 * @param {import('../lib/index.js').Dataset} dataset
 */
async function fastestModel(dataset) {
  const { Ddpm } = loadPackage();
  const timed = [];
  for (const precision of /** @type {const} */ (['float32', 'bfloat16'])) {
    const trial = new Ddpm({ ...config, precision });
    await trial.train(dataset, { ...trainOptions, steps: 2 });
    const { seconds } = await trial.train(dataset, { ...trainOptions, steps: 6 });
    await trial.dispose();
    timed.push({ precision, seconds });
  }
  timed.sort((a, b) => a.seconds - b.seconds);
  return new Ddpm({ ...config, precision: timed[0].precision });
}

await main();
