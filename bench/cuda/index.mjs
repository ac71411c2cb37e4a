// The CUDA benchmarks: sampling and training here beside the same network in PyTorch, all sides in turns.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inTurns, secondsOf } from '../measure.mjs';
import { Side } from '../side.mjs';

/** @typedef {'float32' | 'tf32' | 'bfloat16'} Precision */

/**
 * @typedef {object} Row
 * @property {string} case
 * @property {string} name Whose.
 * @property {number} median Seconds, or bytes where `unit` says so.
 * @property {number} fastest
 * @property {number[]} all
 * @property {'bytes'} [unit]
 * @property {number} [flops] Floating-point operations of the work, two for each multiplication, where they are known.
 */

/**
 * @typedef {object} Machine
 * @property {boolean} cuda
 * @property {string} work A folder for models.
 * @property {Record<'cifar10' | 'tiny', string>} configs Files with the networks' configurations, as models are saved with.
 * @property {string} [python] One with PyTorch.
 * @property {string} [log] A file for what PyTorch writes while it works.
 * @property {(line: string) => void} say
 */

/** What a network is asked to do. */
export const jobs = /** @type {const} */ (['forward', 'training']);

/** Names of rows: what PyTorch compiled, and ours in turns with it. */
export const tuned = 'PyTorch max-autotune';
export const besideTuned = 'here, beside max-autotune';

/** Of a forward pass of the cifar10 preset, for one image. */
const cifar10Flops = 10.5e9;

export class CudaBenchmark {
  /** @param {Machine} machine */
  constructor(machine) {
    this.machine = machine;
    this.preset = machine.cuda ? /** @type {const} */ ('cifar10') : /** @type {const} */ ('tiny');
    this.batch = machine.cuda ? 128 : 4;
    this.rounds = machine.cuda ? 5 : 2;
    this.folder = join(machine.work, this.preset);
    /** The network's configuration, which is there before a model can be saved. */
    this.config = machine.configs[this.preset];
    /** @type {Row[]} */
    this.rows = [];
    /** @type {string[]} */
    this.notes = [];
    /** @type {Set<string>} What is compiled. */
    this.compiled = new Set();
    /** PyTorch as it is, and another that compiles, each in a process of its own. */
    this.eager = this.#newPeer('PyTorch eager');
    /** @type {Side | undefined} */
    this.tuner = undefined;
    /** @type {Side | undefined} */
    this.started = undefined;
  }

  /** @param {string} name */
  #newPeer(name) {
    const { python, log } = this.machine;
    return python === undefined ? undefined : new Side(name, python, [script('peer.py')], { log });
  }

  /** Our side, started when the addon is there. */
  get ours() {
    this.started ??= new Side('ddpm-node', process.execPath, [script('ours.mjs')]);
    return this.started;
  }

  async save() {
    await this.ours.ask({ job: 'save', preset: this.preset, folder: this.folder, size: 32 });
  }

  /**
   * The peer is the same network: max |a − b| / max |b| of a pass.
   *
   * @returns {Promise<number | undefined>} undefined without a peer
   */
  async agreement() {
    if (!this.eager) return undefined;
    const [input, ours, theirs] = ['input', 'ours', 'theirs'].map((name) => join(this.machine.work, name));
    const t = [3, 500, 999];
    const x = Float32Array.from({ length: t.length * 3 * 32 * 32 }, (_, i) => 2 * Math.sin(i * i));
    await writeFile(input, new Uint8Array(x.buffer));
    const job = { job: 'agree', folder: this.folder, size: 32, t, input };
    await Promise.all([this.ours.ask({ ...job, output: ours }), this.eager.ask({ ...job, output: theirs })]);
    const [a, b] = await Promise.all([ours, theirs].map(floats));
    return largest(a.map((value, i) => value - b[i])) / largest(b);
  }

  /**
   * Has PyTorch compile, which takes minutes and needs no model of ours: nothing waits for it.
   *
   * @param {Precision} precision
   * @param {'forward' | 'training'} job
   */
  compile(precision, job) {
    this.tuner ??= this.#newPeer(tuned);
    const begin = performance.now();
    this.tuner?.ask({ ...this.#job(job, precision), folder: undefined, compiled: true, times: 3 }).then(
      () => {
        this.compiled.add(`${job} ${precision}`);
        this.machine.say(`PyTorch compiled ${job} in ${precision}: ${seconds(performance.now() - begin)}`);
      },
      (error) => this.notes.push(`torch.compile, ${job}, ${precision}: ${error.message}`),
    );
  }

  /**
   * Beside PyTorch's operators one by one, channels-last.
   *
   * @param {'forward' | 'training'} job
   * @param {Precision} precision
   * @param {{ preset?: string, batch?: number, size?: number, folder?: string }} [model]
   */
  async compare(job, precision, model) {
    await this.#compare(job, precision, this.eager && { side: this.eager, compiled: false }, model);
  }

  /**
   * Beside what PyTorch compiled.
   *
   * @param {'forward' | 'training'} job
   * @param {Precision} precision
   */
  async compareCompiled(job, precision) {
    if (!this.tuner || !this.compiled.has(`${job} ${precision}`)) return;
    await this.#compare(job, precision, { side: this.tuner, compiled: true });
  }

  /**
   * @param {'forward' | 'training'} job
   * @param {Precision} precision
   * @param {{ side: Side, compiled: boolean } | undefined} peer
   * @param {{ preset?: string, batch?: number, size?: number, folder?: string }} [model]
   */
  async #compare(
    job,
    precision,
    peer,
    { preset = this.preset, batch = this.batch, size = 32, folder = this.folder } = {},
  ) {
    const slow = !this.machine.cuda || precision === 'float32' || size > 32;
    const times = slow ? 4 : job === 'forward' ? 20 : 10;
    const config = folder === this.folder ? this.config : join(folder, 'unet', 'config.json');
    const common = { ...this.#job(job, precision), batch, size, folder, config, times };
    /** @type {(name: string, side: Side, more: object) => import('../measure.mjs').Side} */
    const of = (name, side, more) => ({ name, run: async () => (await side.ask({ ...common, ...more })).seconds });
    const sides = [of(peer?.compiled ? besideTuned : 'here', this.ours, {})];
    if (peer) sides.push(of(peer.side.name, peer.side, { compiled: peer.compiled }));
    const measured = await inTurns(sides, this.rounds, { first: 1 });
    const work = preset === 'cifar10' ? cifar10Flops * batch * (job === 'training' ? 3 : 1) : undefined;
    const what = job === 'training' ? 'training step' : 'pass of sampling';
    this.#add(`${what}, ${preset}, batch ${batch}, ${precision}`, measured, work);
  }

  /**
   * Sampling as a whole. PyTorch's side takes ancestral steps, whose passes are the same.
   *
   * @param {'ddpm' | 'ddim'} sampler
   * @param {number} steps
   * @param {number} count
   * @param {Precision} precision
   * @param {boolean} beside Whether PyTorch draws as many.
   */
  async sampling(sampler, steps, count, precision, beside) {
    const job = { ...this.#job('sampling', precision), sampler, steps, batch: count };
    // The first passes capture, or load kernels.
    await this.ours.ask({ ...job, steps: 3 });
    const sides = [{ name: 'here', run: async () => (await this.ours.ask(job)).seconds }];
    const { eager } = this;
    if (beside && eager) {
      await eager.ask({ ...job, steps: 3, compiled: false });
      sides.push({ name: eager.name, run: async () => (await eager.ask({ ...job, compiled: false })).seconds });
    }
    const measured = await inTurns(sides, steps > 100 ? 1 : 3, { first: 0 });
    this.#add(`${count} samples, ${sampler}, ${steps} steps, ${this.preset}, ${precision}`, measured);
  }

  /** @param {Precision} precision */
  async large(precision) {
    const folder = join(this.machine.work, 'celebaHq256');
    await this.ours.ask({ job: 'save', preset: 'celebaHq256', folder, size: 256 });
    for (const job of jobs) {
      await this.compare(job, precision, { preset: 'celebaHq256', batch: 16, size: 256, folder });
    }
  }

  /** Whole processes, from their start to a first picture in 5 steps. */
  async start() {
    const sides = this.#alone().map(({ name, run }) => ({
      name,
      run: () => secondsOf(() => run(['start', this.folder])),
    }));
    this.#add(`start to first picture, ${this.preset}, 5 steps`, await inTurns(sides, 2, { first: 1 }));
  }

  /**
   * The most device memory that the allocators of whole processes hold.
   *
   * @param {Precision} precision
   */
  async memory(precision) {
    for (const job of jobs) {
      for (const { name, run } of this.#alone()) {
        const { stdout } = await run(['memory', this.folder, job, precision, String(this.batch), '32']);
        const { bytes } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
        const what = `${job === 'training' ? 'training' : 'sampling'}, ${this.preset}, batch ${this.batch}, ${precision}`;
        this.rows.push({
          case: `device memory, ${what}`,
          name,
          unit: 'bytes',
          median: bytes,
          fastest: bytes,
          all: [bytes],
        });
      }
    }
  }

  /** Both sides as processes that do one thing. */
  #alone() {
    const execute = promisify(execFile);
    const { python } = this.machine;
    const ours = {
      name: 'here',
      run: (/** @type {string[]} */ args) => execute(process.execPath, [script('ours.mjs'), ...args]),
    };
    if (python === undefined) return [ours];
    return [
      ours,
      { name: 'PyTorch eager', run: (/** @type {string[]} */ args) => execute(python, [script('peer.py'), ...args]) },
    ];
  }

  /** What the device can do at most, as PyTorch reaches it. */
  async ceilings() {
    return await this.eager?.ask({ job: 'ceilings' });
  }

  close() {
    for (const side of [this.started, this.eager, this.tuner]) side?.kill();
  }

  /**
   * @param {string} job
   * @param {Precision} precision
   */
  #job(job, precision) {
    return { job, precision, batch: this.batch, size: 32, folder: this.folder, config: this.config };
  }

  /**
   * @param {string} name
   * @param {import('../measure.mjs').Measured[]} measured
   * @param {number} [flops]
   */
  #add(name, measured, flops) {
    for (const one of measured) this.rows.push({ case: name, ...one, ...(flops ? { flops } : {}) });
    const told = measured.map(({ name: whose, median }) => `${whose} ${seconds(1000 * median)}`);
    this.machine.say(`${name}: ${told.join(', ')}`);
  }
}

/** @param {string} name */
function script(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** @param {string} file */
async function floats(file) {
  const bytes = await readFile(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** @param {Float32Array} values */
function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** @param {number} milliseconds */
export function seconds(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds.toFixed(2)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}
