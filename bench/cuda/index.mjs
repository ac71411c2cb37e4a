// The CUDA benchmarks: sampling and training here beside the same network in PyTorch, all sides in turns.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTurns, secondsOf } from '../measure.mjs';
import { Side } from '../side.mjs';

/** @typedef {'float32' | 'tf32' | 'bfloat16'} Precision */

/**
 * @typedef {object} Row
 * @property {string} case
 * @property {string} name Whose.
 * @property {number} median Seconds.
 * @property {number} fastest
 * @property {number[]} all
 * @property {number} [bytes] The most device memory that the side's allocator held.
 * @property {number} [flops] Floating-point operations of the work, two for each multiplication, where they are known.
 */

/**
 * @typedef {object} Machine
 * @property {boolean} cuda
 * @property {string} work A folder for models.
 * @property {Record<'cifar10' | 'tiny', string>} configs Files with the networks' configurations, as models are saved with.
 * @property {string} [python] One with PyTorch.
 * @property {() => number} left Seconds until the end.
 * @property {(line: string) => void} say
 */

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
    this.peer = this.#newPeer();
    /** @type {Side | undefined} */
    this.started = undefined;
  }

  #newPeer() {
    const { python } = this.machine;
    return python === undefined ? undefined : new Side('PyTorch', python, [script('peer.py')]);
  }

  /** A peer that has compiled nothing, instead of one that is busy. */
  replacePeer() {
    this.peer?.kill();
    this.compiled.clear();
    this.peer = this.#newPeer();
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
    if (!this.peer) return undefined;
    const [input, ours, theirs] = ['input', 'ours', 'theirs'].map((name) => join(this.machine.work, name));
    const t = [3, 500, 999];
    const x = Float32Array.from({ length: t.length * 3 * 32 * 32 }, (_, i) => 2 * Math.sin(i * i));
    await writeFile(input, new Uint8Array(x.buffer));
    const job = { job: 'agree', folder: this.folder, size: 32, t, input };
    await Promise.all([this.ours.ask({ ...job, output: ours }), this.peer.ask({ ...job, output: theirs })]);
    const [a, b] = await Promise.all([ours, theirs].map(floats));
    return largest(a.map((value, i) => value - b[i])) / largest(b);
  }

  /**
   * Has the peer compile, which takes minutes and needs no model of ours: nothing waits for it.
   *
   * @param {Precision} precision
   * @param {'forward' | 'training'} job
   */
  warm(precision, job) {
    if (!this.peer || !this.machine.cuda) return;
    const begin = performance.now();
    this.peer.ask({ ...this.#job(job, precision), folder: undefined, compiled: true, times: 3 }).then(
      () => {
        this.compiled.add(`${job} ${precision}`);
        this.machine.say(`PyTorch compiled ${job} in ${precision}: ${seconds(performance.now() - begin)}`);
      },
      (error) => this.notes.push(`torch.compile, ${job}, ${precision}: ${error.message}`),
    );
  }

  /**
   * @param {'forward' | 'training'} job
   * @param {Precision} precision
   * @param {{ preset?: string, batch?: number, size?: number, folder?: string }} [model]
   */
  async compare(job, precision, { preset = this.preset, batch = this.batch, size = 32, folder = this.folder } = {}) {
    const slow = !this.machine.cuda || precision === 'float32' || size > 32;
    const times = this.machine.cuda ? (slow ? 5 : 30) : 4;
    const config = folder === this.folder ? this.config : join(folder, 'unet', 'config.json');
    const common = { ...this.#job(job, precision), batch, size, folder, config };
    /** @type {Map<string, number>} */
    const bytes = new Map();
    /** @type {(name: string, side: Side, more: object) => import('../measure.mjs').Side} */
    const of = (name, side, more) => ({
      name,
      run: async () => {
        const told = await side.ask({ ...common, times, ...more });
        bytes.set(name, Math.max(told.bytes ?? 0, bytes.get(name) ?? 0));
        return told.seconds;
      },
    });
    const sides = [of('here', this.ours, {})];
    if (this.peer) sides.push(of('PyTorch eager', this.peer, { compiled: false }));
    if (this.peer && size === 32 && this.compiled.has(`${job} ${precision}`)) {
      sides.push(of('PyTorch max-autotune', this.peer, { compiled: true }));
    }
    const measured = await inTurns(sides, this.rounds, { first: 2 });
    const work = preset === 'cifar10' ? cifar10Flops * batch * (job === 'training' ? 3 : 1) : undefined;
    const what = job === 'training' ? 'training step' : 'pass of sampling';
    this.#add(`${what}, ${preset}, batch ${batch}, ${precision}`, measured, { bytes, flops: work });
  }

  /**
   * Sampling as a whole.
   *
   * @param {'ddpm' | 'ddim'} sampler
   * @param {number} steps
   * @param {number} count
   * @param {Precision} precision
   */
  async sampling(sampler, steps, count, precision) {
    const job = { ...this.#job('sampling', precision), sampler, steps, batch: count };
    // The first call captures.
    await this.ours.ask({ ...job, steps: 3 });
    const measured = await inTurns(
      [{ name: 'here', run: async () => (await this.ours.ask(job)).seconds }],
      steps > 100 ? 1 : 3,
      { first: 0 },
    );
    this.#add(`${count} samples, ${sampler}, ${steps} steps, ${this.preset}, ${precision}`, measured);
  }

  /** @param {Precision} precision */
  async large(precision) {
    const folder = join(this.machine.work, 'celebaHq256');
    await this.ours.ask({ job: 'save', preset: 'celebaHq256', folder, size: 256 });
    for (const job of /** @type {const} */ (['forward', 'training'])) {
      await this.compare(job, precision, { preset: 'celebaHq256', batch: 16, size: 256, folder });
    }
  }

  /** Whole processes, from their start to a first picture in 5 steps. */
  async start() {
    const { execFile } = await import('node:child_process');
    const { promisify } = await import('node:util');
    const execute = promisify(execFile);
    const { python } = this.machine;
    const sides = [
      {
        name: 'here',
        run: () => secondsOf(() => execute(process.execPath, [script('ours.mjs'), 'start', this.folder])),
      },
    ];
    if (python) {
      sides.push({
        name: 'PyTorch eager',
        run: () => secondsOf(() => execute(python, [script('peer.py'), 'start', this.folder])),
      });
    }
    this.#add(`start to first picture, ${this.preset}, 5 steps`, await inTurns(sides, 2, { first: 1 }));
  }

  /** What the device can do at most, as PyTorch reaches it. */
  async ceilings() {
    return await this.peer?.ask({ job: 'ceilings' });
  }

  close() {
    this.started?.kill();
    this.peer?.kill();
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
   * @param {{ bytes?: Map<string, number>, flops?: number | undefined }} [more]
   */
  #add(name, measured, { bytes, flops } = {}) {
    for (const one of measured) {
      const most = bytes?.get(one.name);
      this.rows.push({ case: name, ...one, ...(most ? { bytes: most } : {}), ...(flops ? { flops } : {}) });
    }
    this.machine.say(
      `${name}: ${measured.map(({ name: whose, median }) => `${whose} ${seconds(1000 * median)}`).join(', ')}`,
    );
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
