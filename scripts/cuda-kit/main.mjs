// The kit where it runs: builds the addon against the machine's PyTorch, proves it, measures it. See run.sh.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CudaBenchmark, jobs } from '../../bench/cuda/index.mjs';
import { extendPath, findCard, findPyTorch, processor } from './environment.mjs';
import { kernelTable, profile } from './kernels.mjs';
import { proofs, runTests } from './proofs.mjs';
import { table } from './report.mjs';
import { sanitize } from './sanitizer.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values: flags } = parseArgs({
  options: {
    cpu: { type: 'boolean', default: false },
    python: { type: 'string' },
    out: { type: 'string', default: 'cuda-kit-results' },
    seconds: { type: 'string', default: '480' },
    only: { type: 'string' },
    eager: { type: 'boolean', default: false },
  },
});
const began = Date.now();
const left = () => Number(flags.seconds) - (Date.now() - began) / 1000;
/** Of the part under way, in milliseconds since 1970. */
let partEnd = Number.POSITIVE_INFINITY;
const out = resolve(flags.out);
mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'ddpm-kit-models-'));

/** @typedef {'passed' | 'failed' | 'skipped'} Status */

const results = {
  date: new Date().toISOString(),
  processor: processor(),
  card: /** @type {Awaited<ReturnType<typeof findCard>>} */ (undefined),
  versions: /** @type {Record<string, unknown>} */ ({ node: process.version }),
  parts: /** @type {Record<string, { status: Status, seconds: number, [more: string]: unknown }>} */ ({}),
  rows: /** @type {import('../../bench/cuda/index.mjs').Row[]} */ ([]),
  ceilings: /** @type {unknown} */ (undefined),
  kernels: /** @type {Record<string, unknown>} */ ({}),
  notes: /** @type {string[]} */ ([]),
};

function keep() {
  const file = join(out, 'results.json');
  writeFileSync(`${file}.part`, `${JSON.stringify(results, null, 2)}\n`);
  renameSync(`${file}.part`, file);
}

/** @param {string} line */
function say(line) {
  console.log(`${String(Math.round((Date.now() - began) / 1000)).padStart(4)} s  ${line}`);
}

/**
 * A part of the work, whose end is kept at once. One that fails does not keep the others from being done.
 *
 * @param {string} name
 * @param {number} least Seconds without which it is not begun.
 * @param {() => Promise<{ status?: Status, [more: string]: unknown } | undefined | void>} run
 * @param {number} [most] Seconds after which its programs are ended: no part takes the time of all that follow.
 * @returns {Promise<boolean>} whether it passed
 */
async function part(name, least, run, most = Number.POSITIVE_INFINITY) {
  if (flags.only && !['build', 'save', ...flags.only.split(',')].includes(name)) return false;
  const start = Date.now();
  partEnd = start + 1000 * most;
  /** @type {{ status?: Status, [more: string]: unknown }} */
  let told = { status: 'skipped', why: `${Math.round(left())} s are left, and it needs ${least}` };
  if (left() >= least) {
    try {
      told = (await run()) ?? {};
    } catch (error) {
      told = { status: 'failed', why: error instanceof Error ? error.message : String(error) };
    }
  }
  const { status = 'passed', ...more } = told;
  const seconds = (Date.now() - start) / 1000;
  results.parts[name] = { status, seconds, ...more };
  keep();
  say(`${name}: ${status} in ${seconds.toFixed(1)} s${more.why ? `: ${more.why}` : ''}`);
  return status === 'passed';
}

/**
 * Runs a program with its output in a log beside the results.
 *
 * @param {string} name of the log
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<number | null>} the exit code; null where it was killed, as it is when time is up
 */
function logged(name, program, args, env = {}) {
  const file = openSync(join(out, `${name}.log`), 'w');
  return new Promise((done, failed) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', file, file],
      timeout: Math.round(Math.max(1000, Math.min(1000 * left(), partEnd - Date.now()))),
      killSignal: 'SIGKILL',
    });
    child.on('error', failed);
    child.on('close', done);
  });
}

const { pytorch, why } = await findPyTorch(flags.python);
extendPath(pytorch);
results.card = flags.cpu ? undefined : await findCard();
const cuda = results.card !== undefined;
results.versions.pytorch = pytorch?.version ?? `none: ${why.join('; ')}`;
say(`${results.card?.name ?? 'no card'}; PyTorch ${results.versions.pytorch}; ${results.processor.model}`);

const benchmark = new CudaBenchmark({
  cuda,
  work,
  configs: {
    cifar10: join(root, 'bench', 'cuda', 'configs', 'cifar10.json'),
    tiny: join(root, 'bench', 'cuda', 'configs', 'tiny.json'),
  },
  python: pytorch?.python,
  log: join(out, 'pytorch.log'),
  say,
});
// Kept with each part, whatever comes after it.
results.rows = benchmark.rows;
results.notes = benchmark.notes;
const context = { root, out, work, cuda, left, say, logged, pytorch };

try {
  await run();
} finally {
  benchmark.close();
  keep();
  rmSync(work, { recursive: true, force: true });
}
console.log(table(results));
const failed = Object.values(results.parts).some(({ status }) => status === 'failed');
process.exit(failed ? 1 : 0);

async function run() {
  if (!flags.cpu && !cuda) throw new Error('nvidia-smi tells of no card: run.sh --cpu does without one');
  const compiles = cuda && !flags.eager && (!flags.only || flags.only.split(',').includes('compiled'));
  if (compiles) for (const job of jobs) benchmark.compile('bfloat16', job);
  if (!(await part('build', 60, build))) return;
  // torch.compile tries its kernels on the card, which was free until now.
  benchmark.tuner?.pause();
  for (const proof of proofs(cuda)) await part(proof.name, 10, () => runTests(context, proof), cuda ? 80 : 150);
  await part('save', 10, () => benchmark.save());
  await part('agreement', 10, agreement);
  await part('speed', 20, speed);
  if (cuda) await part('kernels', 20, kernels);
  await part('sampling', 20, sampling);
  if (cuda) await part('sanitizer', 30, () => sanitize(context));
  if (compiles) await part('compiled', 40, compiled);
  if (cuda) await part('large', 30, () => benchmark.large('bfloat16'));
  await part('start', 15, () => benchmark.start());
  if (cuda) await part('peak memory', 30, () => benchmark.memory('bfloat16'));
}

async function build() {
  if (process.env.DDPM_ADDON) return { why: 'DDPM_ADDON names a built one' };
  if (!pytorch) throw new Error(`PyTorch is needed, and there is none. ${why.join('; ')}`);
  if (cuda && !pytorch.cuda) throw new Error(`PyTorch ${pytorch.version} is one without CUDA`);
  const status = await logged('build', process.execPath, [join(root, 'scripts', 'build.mjs')], {
    DDPM_LIBTORCH: pytorch.folder,
    DDPM_VARIANT: cuda ? 'cuda' : 'cpu',
    ...(results.card ? { CUDAARCHS: `${results.card.architecture}-real` } : {}),
  });
  if (status === 0) return {};
  const errors = readFileSync(join(out, 'build.log'), 'utf8')
    .split('\n')
    .filter((line) => /error|Error/.test(line));
  return { status: /** @type {const} */ ('failed'), why: errors.slice(0, 20).join('\n') || `exit code ${status}` };
}

async function agreement() {
  const difference = await benchmark.agreement();
  if (difference === undefined) return { status: /** @type {const} */ ('skipped'), why: 'there is no PyTorch' };
  const status = difference <= 1e-4 ? /** @type {const} */ ('passed') : /** @type {const} */ ('failed');
  return { status, difference, why: `max |a − b| / max |b| is ${difference.toExponential(1)}` };
}

async function speed() {
  results.ceilings = await benchmark.ceilings();
  const precisions = cuda
    ? /** @type {const} */ (['bfloat16', 'tf32', 'float32'])
    : /** @type {const} */ (['float32', 'bfloat16']);
  for (const precision of precisions) {
    for (const job of jobs) {
      if (left() < 20) return { why: `${job} in ${precision} and what follows: no time` };
      await benchmark.compare(job, precision);
    }
  }
}

/** What is still compiled when too little time is left is not waited for. */
async function compiled() {
  benchmark.tuner?.go();
  const patience = 1000 * Math.max(0, left() - 30);
  await Promise.race([benchmark.tuner?.last, new Promise((done) => setTimeout(done, patience).unref())]);
  for (const job of jobs) await benchmark.compareCompiled(job, 'bfloat16');
  if (benchmark.compiled.size < 2) {
    return {
      status: /** @type {const} */ ('skipped'),
      why: `of two networks PyTorch compiled ${benchmark.compiled.size}`,
    };
  }
}

async function sampling() {
  if (!cuda) return await benchmark.sampling('ddpm', 20, 8, 'float32', true);
  await benchmark.sampling('ddim', 50, 256, 'bfloat16', true);
  // A thousand eager steps take half a minute.
  await benchmark.sampling('ddpm', 1000, 256, 'bfloat16', left() > 180);
}

async function kernels() {
  for (const what of jobs) {
    results.kernels[what] = kernelTable(await profile(context, benchmark.folder, what, 'bfloat16', 128));
  }
}
