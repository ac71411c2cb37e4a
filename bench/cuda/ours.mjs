// Our side of the CUDA benchmarks: reads jobs from stdin, one JSON object a line, and answers with seconds. With
// arguments, does one job alone in this process: `ours.mjs start FOLDER`, and with `profile` or `memory` FOLDER,
// forward|training, PRECISION, BATCH, SIZE.
import { createInterface } from 'node:readline';
import { binding, ddpm, randomImages } from '../package.mjs';

const { Ddpm } = ddpm;
const native = binding.native();
const device = native.cudaAvailable ? 'cuda' : 'cpu';

/**
 * @typedef {'float32' | 'tf32' | 'bfloat16'} Precision
 *
 * @typedef {object} Job
 * @property {'save' | 'agree' | 'forward' | 'training' | 'sampling'} job
 * @property {string} folder A saved model.
 * @property {'cifar10' | 'celebaHq256' | 'tiny'} preset Of `save`.
 * @property {Precision} precision
 * @property {number} batch
 * @property {number} size Height and width.
 * @property {number} times Passes, or steps, that are timed together.
 * @property {'ddpm' | 'ddim'} sampler
 * @property {number} steps
 * @property {string} output A file.
 * @property {number[]} t
 * @property {string} input A file.
 */

/** @type {Map<string, InstanceType<typeof Ddpm>>} */
const models = new Map();

/** @param {Pick<Job, 'folder' | 'precision'>} job */
async function modelOf({ folder, precision }) {
  const key = `${folder} ${precision}`;
  const model = models.get(key) ?? (await Ddpm.load(folder, { device, precision, optimizer: { learningRate: 1e-5 } }));
  models.set(key, model);
  return model;
}

/**
 * @param {InstanceType<typeof Ddpm>} model
 * @param {Job} job
 * @param {number} steps
 */
async function secondsOfSampling(model, { batch, sampler }, steps) {
  const begin = performance.now();
  await model.sample(batch, { sampler, steps, batchSize: batch, seed: 1 });
  return (performance.now() - begin) / 1000;
}

/** @type {Record<Job['job'], (job: Job) => Promise<Record<string, unknown>>>} */
const jobs = {
  /** A model of a preset with weights of which none is zero any more. */
  async save({ preset, folder, size }) {
    const model = new Ddpm({
      ...ddpm.presets[preset],
      device,
      optimizer: { learningRate: 1e-3, warmupSteps: 0 },
      ema: { decay: 0 },
    });
    await model.train(await randomImages(8, size), { steps: 4, batchSize: 2 });
    await model.save(folder);
    await model.dispose();
    return { seconds: 0 };
  },

  async agree({ folder, input, output, t }) {
    const { readFile, writeFile } = await import('node:fs/promises');
    const bytes = await readFile(input);
    const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    const { data } = await (await modelOf({ folder, precision: 'float32' })).predictNoise(x, t);
    await writeFile(output, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { seconds: 0 };
  },

  /** What a pass of sampling takes, the sampler's own step included: the difference of a long and a short call. */
  async forward(job) {
    const model = await modelOf(job);
    const short = await secondsOfSampling(model, { ...job, sampler: 'ddim' }, 3);
    const long = await secondsOfSampling(model, { ...job, sampler: 'ddim' }, 3 + job.times);
    return { seconds: (long - short) / job.times };
  },

  async training(job) {
    const model = await modelOf(job);
    const dataset = await randomImages(2 * job.batch, job.size);
    const { seconds } = await model.train(dataset, {
      steps: model.step + job.times,
      batchSize: job.batch,
      horizontalFlip: true,
      progressEvery: 1000,
    });
    return { seconds: seconds / job.times };
  },

  async sampling(job) {
    return { seconds: await secondsOfSampling(await modelOf(job), job, job.steps) };
  },
};

/**
 * @param {string[]} args
 * @param {number} times
 */
function jobOf([folder, what, precision, batch, size], times) {
  return /** @type {Job} */ ({ job: what, folder, precision, batch: Number(batch), size: Number(size), times });
}

/** @type {Record<string, (...args: string[]) => Promise<unknown>>} */
const alone = {
  async start(folder) {
    const model = await Ddpm.load(folder, { device });
    await model.sample(1, { sampler: 'ddim', steps: 5, seed: 1 });
  },
  async profile(...args) {
    const job = jobOf(args, 40);
    await jobs[job.job](job);
  },
  async memory(...args) {
    const job = jobOf(args, 4);
    await jobs[job.job](job);
    console.log(JSON.stringify({ bytes: native.deviceMemory(0).mostReserved }));
  },
};

const [, , work, ...args] = process.argv;
if (work !== undefined) {
  await alone[work](...args);
  process.exit();
}
for await (const line of createInterface({ input: process.stdin })) {
  /** @type {Job} */
  const job = JSON.parse(line);
  const told = await jobs[job.job](job).catch((error) => ({
    error: `${error.code ?? error.name}: ${error.message}`,
  }));
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
process.exit();
