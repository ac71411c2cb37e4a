// Models to Python and back: what is saved here, diffusers loads, and the other way round, in every form that either
// writes, for every network of test/fixtures; both sides must compute the same. Needs the build of lib/
// (`npm run build:ts`) and a Python with diffusers and PyTorch.
//
//   npm run interop -- --python /path/to/python
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({ options: { python: { type: 'string', default: 'python3' } } });

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
/** @type {typeof import('../lib/index.js')} */
const { Ddpm } = require(join(root, 'dist', 'index.js'));
/** @type {typeof import('../lib/checkpoint/formats/safetensors.js')} */
const { SafetensorsFile } = require(join(root, 'dist', 'checkpoint', 'formats', 'safetensors.js'));

/** Of one pass of a network in float32: max |a − b| / max |b|. */
const PASS_BOUND = 2e-5;
/** Of pictures in [0, 1]: half a level. */
const PICTURE_BOUND = 0.5 / 255;
const STEPS = 5;

/** So that a few steps of training part the raw weights from their average. @type {import('../lib/index.js').LoadOptions} */
const fastTraining = { optimizer: { learningRate: 1e-3, warmupSteps: 0 }, ema: { decay: 0.9, warmup: false } };

/** @typedef {{ data: Float32Array | BigInt64Array, shape: readonly number[] }} Tensor */
/** @typedef {{ do: 'save' | 'predict' | 'draw', [option: string]: unknown }} Job */
/** @typedef {{ what: string, bound: number, difference: () => Promise<number> }} Check */

const fixtures = join(root, 'test', 'fixtures');
const published = join(fixtures, 'flat-2022');
const networks = [
  ...readdirSync(join(fixtures, 'reference', 'unet')).map((name) => join(fixtures, 'reference', 'unet', name)),
  published,
];

/** What diffusers is asked to save, by a name for it. @type {Record<string, Partial<Job>>} */
const forms = {
  safetensors: {},
  'sharded safetensors': { options: { max_shard_size: '40KB' } },
  '.bin': { options: { safe_serialization: false } },
  'sharded .bin': { options: { safe_serialization: false, max_shard_size: '40KB' } },
  'variant fp16': { dtype: 'float16', options: { variant: 'fp16' } },
  'variant bf16, sharded': { dtype: 'bfloat16', options: { variant: 'bf16', max_shard_size: '20KB' } },
  'only the network': { only_network: true },
};

const work = mkdtempSync(join(tmpdir(), 'ddpm-interop-'));
try {
  /** @type {Job[]} */
  const jobs = [];
  /** @type {Check[]} */
  const checks = [];
  for (const network of networks) await plan(network, jobs, checks);
  requireAll(checks);
  console.log(`${runPython(jobs)}, Node ${process.version}\n`);
  const failed = await judge(checks);
  console.log(failed === 0 ? `\nall ${checks.length} within their bounds` : `\n${failed} of ${checks.length} are not`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  rmSync(work, { recursive: true });
}

/**
 * Saves a network here in each way, and adds what Python is to do and what is then to be compared.
 *
 * @param {string} network its folder
 * @param {Job[]} jobs
 * @param {Check[]} checks
 */
async function plan(network, jobs, checks) {
  const name = network.split(/[\\/]/).at(-1) ?? '';
  const io = join(network, 'io.safetensors');
  /** @param {string} place */
  const at = (place) => join(work, name, place.replace(/\W+/g, '-'));
  /**
   * @param {string} what
   * @param {() => Promise<number>} difference
   */
  const check = (what, difference, bound = PASS_BOUND) => checks.push({ what: `${name}: ${what}`, bound, difference });
  /**
   * Has diffusers run the network of a folder; its output.
   *
   * @param {string} folder
   * @param {string} [variant]
   */
  const predicted = (folder, variant) => {
    const to = `${folder}-${variant ?? 'plain'}.safetensors`;
    jobs.push({ do: 'predict', folder, variant, io, to });
    return async () => floats((await tensorsOf(to)).output);
  };

  // Ours, in diffusers.
  const ours = at('ours');
  const recorded = async () => floats((await tensorsOf(io)).output);
  const raw = at('raw');
  const { diffusion, unet } = await withModel(network, fastTraining, async (ddpm) => {
    await ddpm.save(ours);
    if (ddpm.config.diffusion.varianceType !== 'learned_range') {
      await train(ddpm);
      await ddpm.save(raw, { rawWeights: true });
    }
    return ddpm.config;
  });
  const theirs = predicted(ours);
  check('saved here, run there, against the record', async () => apart(await theirs(), await recorded()));
  check('saved here, run there, against here', async () => apart(await theirs(), await outputOf(ours, io)));

  // A network with a learned variance is neither trained nor sampled from.
  const isFixed = diffusion.varianceType !== 'learned_range';
  if (isFixed) {
    const [ema, alone] = [predicted(raw), predicted(raw, 'raw')];
    check('trained here, the average, run there', async () =>
      apart(await ema(), await outputOf(raw, io, { weights: 'ema' })),
    );
    check('trained here, the raw weights, run there', async () => {
      const output = await alone();
      if (apart(output, await ema()) < 100 * PASS_BOUND) throw new Error('both sets of weights give the same');
      return apart(output, await outputOf(raw, io, { weights: 'raw' }));
    });
  }

  // diffusers' own, here.
  for (const [form, options] of Object.entries(forms)) {
    const to = at(form);
    const variant = /** @type {{ variant?: string } | undefined} */ (options.options)?.variant;
    jobs.push({ do: 'save', folder: network, to, ...options });
    const expected = predicted(to, variant);
    const load = options.only_network ? { variant, diffusion } : { variant };
    check(`saved there as ${form}, run here`, async () => {
      const hasIndex = readdirSync(to, { recursive: true }).some((file) => /\.index\..*json$/.test(String(file)));
      if (hasIndex !== form.includes('sharded')) throw new Error('diffusers saved it in another form');
      return apart(await outputOf(to, io, {}, load), await expected());
    });
  }

  // Pictures, where no random number is drawn on the way; diffusers' pipelines know no classes.
  if (!isFixed || unet.classes > 0) return;
  for (const [pipeline, sampler, steps] of /** @type {const} */ ([
    ['DDIMPipeline', 'ddim', STEPS],
    ['DDPMPipeline', 'ddpm', 1],
  ])) {
    const to = at(`${pipeline}.safetensors`);
    jobs.push({ do: 'draw', pipeline, folder: ours, steps, to });
    check(
      `pictures of ${pipeline} in ${steps} step${steps > 1 ? 's' : ''}, max |a − b| in [0, 1]`,
      async () => {
        const { x_T, images } = await tensorsOf(to);
        const drawn = await withModel(ours, {}, (ddpm) =>
          ddpm.sample(2, { sampler, steps, timestepSpacing: 'leading', noise: floats(x_T), output: 'float32' }),
        );
        const levels = Float32Array.from(drawn.data, (value) => Math.min(1, Math.max(0, value / 2 + 0.5)));
        return largest(levels.map((value, i) => value - floats(images)[i]));
      },
      PICTURE_BOUND,
    );
  }
}

/**
 * Each kind of check at least once: one whose networks are not there any more would be missed by nobody.
 *
 * @param {Check[]} checks
 */
function requireAll(checks) {
  const kinds = [
    'saved here, run there, against the record',
    'trained here, the raw weights, run there',
    ...Object.keys(forms).map((form) => `saved there as ${form}, run here`),
    'pictures of DDIMPipeline',
    'pictures of DDPMPipeline',
  ];
  const missing = kinds.filter((kind) => !checks.some(({ what }) => what.includes(`: ${kind}`)));
  if (missing.length > 0) throw new Error(`nothing to check of: ${missing.join('; ')}`);
}

/**
 * Has diffusers do all jobs; what it calls itself.
 *
 * @param {Job[]} jobs
 */
function runPython(jobs) {
  const { status, error, stdout } = spawnSync(flags.python, [join(root, 'scripts', 'interop', 'diffusers_jobs.py')], {
    input: JSON.stringify(jobs),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (status === 0) return stdout.trim();
  throw new Error(
    `${flags.python}: ${error?.message ?? `ended with ${status}`}. --python must name a Python that has diffusers and PyTorch`,
  );
}

/**
 * Makes all checks and prints how each went.
 *
 * @param {Check[]} checks
 * @returns {Promise<number>} how many failed
 */
async function judge(checks) {
  let failed = 0;
  for (const { what, bound, difference } of checks) {
    let line;
    try {
      const value = await difference();
      const within = value <= bound;
      if (!within) failed++;
      line = `${within ? 'ok    ' : 'FAILED'} ${value.toExponential(1).padStart(8)}  ${what}`;
    } catch (error) {
      failed++;
      line = `FAILED ${what}: ${error}`;
    }
    console.log(line);
  }
  return failed;
}

/**
 * What the network of a folder makes here of recorded inputs.
 *
 * @param {string} folder
 * @param {string} io
 * @param {import('../lib/index.js').PredictOptions} [options]
 * @param {import('../lib/index.js').LoadOptions} [load]
 */
async function outputOf(folder, io, options = {}, load = {}) {
  const { sample, timesteps, class_labels } = await tensorsOf(io);
  const classLabels = class_labels && integers(class_labels);
  const output = await withModel(folder, load, (ddpm) =>
    ddpm.predictNoise(floats(sample), integers(timesteps), { ...options, classLabels }),
  );
  return output.data;
}

/**
 * Loads a model, works with it, and lets it go.
 *
 * @template T
 * @param {string} folder
 * @param {import('../lib/index.js').LoadOptions} options
 * @param {(ddpm: import('../lib/index.js').Ddpm) => Promise<T>} work
 */
async function withModel(folder, options, work) {
  const ddpm = await Ddpm.load(folder, { device: 'cpu', ...options });
  try {
    return await work(ddpm);
  } finally {
    await ddpm.dispose();
  }
}

/**
 * Parts the raw weights from their average.
 *
 * @param {import('../lib/index.js').Ddpm} ddpm
 */
async function train(ddpm) {
  const { image, unet } = ddpm.config;
  const count = 2 * image.height * image.width * image.channels;
  const x0 = Float32Array.from({ length: count }, (_, i) => Math.sin(i));
  const noise = Float32Array.from({ length: count }, (_, i) => Math.cos(3 * i));
  const classLabels = unet.classes > 0 ? [0, 1] : undefined;
  for (let step = 0; step < 3; step++) await ddpm.trainStep({ x0, t: [100, 500], noise, classLabels });
}

/**
 * All tensors of a file.
 *
 * @param {string} path
 * @returns {Promise<Record<string, Tensor>>}
 */
async function tensorsOf(path) {
  const file = await SafetensorsFile.open(path);
  try {
    /** @type {Record<string, Tensor>} */
    const tensors = {};
    for (const { name, dtype, shape } of file.tensors.values()) {
      const chunks = [];
      for await (const chunk of file.chunks(name)) chunks.push(Uint8Array.from(chunk));
      const buffer = await new Blob(chunks).arrayBuffer();
      tensors[name] = { data: dtype === 'I64' ? new BigInt64Array(buffer) : new Float32Array(buffer), shape };
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** @param {Tensor} tensor */
function floats({ data }) {
  return /** @type {Float32Array} */ (data);
}

/** @param {Tensor} tensor */
function integers({ data }) {
  return Array.from(data, Number);
}

/** max |a − b| / max |b|. @param {Float32Array} a @param {Float32Array} b */
function apart(a, b) {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  return largest(a.map((value, i) => value - b[i])) / largest(b);
}

/** @param {Float32Array} values */
function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
