// Trains a small model that saves a checkpoint every second step, kills it with SIGKILL at random moments, resumes it, and
// compares it with one that was never stopped. Every resume must succeed, without a warning, from no older a checkpoint
// than the last one whose save had ended; every loss, gradient norm and learning rate, the position in the data order and
// the final weights must be the same, bit for bit. Needs the build of lib/ (`npm run build:ts`).
//
//   npm run soak                              200 kills
//   npm run soak -- --kills 20 --seed 7       20, at the moments that this seed gives
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @typedef {object} Progress
 * @property {number} step
 * @property {number | null} loss
 * @property {number} learningRate
 * @property {number} gradientNorm
 *
 * @typedef {object} Run What the log of a run says, over all its processes.
 * @property {number[]} starts The step that each process began at.
 * @property {number[]} saved The steps whose checkpoints were saved.
 * @property {string[]} warnings
 * @property {Progress[]} progress
 * @property {{ step: number, imagesSeen: number, weights: string } | undefined} end
 */

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    // Updates of one run; a run that has ended before all kills are done is followed by another.
    steps: { type: 'string', default: '300' },
  },
});
const kills = Number(flags.kills);
const steps = Number(flags.steps);
const random = randomFrom(Number(flags.seed));
const trainer = fileURLToPath(new URL('soak/trainer.mjs', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'ddpm-soak-'));
try {
  const problems = await soak();
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function soak() {
  const begun = performance.now();
  const undisturbed = await runOf(join(folder, 'undisturbed'));
  const whole = (performance.now() - begun) / 1000;
  console.log(`${steps} steps without a stop: ${whole.toFixed(1)} s, ${undisturbed.saved.length} checkpoints`);

  /** @type {string[]} */
  const problems = [];
  const counts = { resumes: 0, cutSaves: 0 };
  for (let run = 1, left = kills; left > 0 || run === 1; run++) {
    const { killed, trouble, log } = await killedRun(join(folder, `killed-${run}`), left, counts);
    left -= killed;
    problems.push(...trouble.map((text) => `run ${run}: ${text}`));
    problems.push(...differences(undisturbed, log).map((text) => `run ${run}: ${text}`));
    console.log(`run ${run}: ${killed} kills, resumed at steps ${log.starts.slice(1).join(', ')}`);
    if (problems.length > 0) break;
  }
  const cut = `${counts.cutSaves} of them in the middle of a save`;
  console.log(`${kills} kills, ${cut}; ${counts.resumes} resumes; ${problems.length} problems`);
  return problems;
}

/**
 * @param {string} place
 * @returns {Promise<Run>} A run that nobody kills.
 */
async function runOf(place) {
  mkdirSync(place);
  const end = await start(place).ended;
  if (end !== 'code 0') throw new Error(`a run without a stop ended with ${end}`);
  return read(place);
}

/**
 * A run that is killed up to `most` times, and then left to end.
 *
 * @param {string} place
 * @param {number} most
 * @param {{ resumes: number, cutSaves: number }} counts Counted up.
 */
async function killedRun(place, most, counts) {
  mkdirSync(place);
  /** @type {string[]} */
  const trouble = [];
  let killed = 0;
  for (;;) {
    const before = read(place);
    const child = start(place);
    // From before the addon is loaded to the middle of training.
    const timer = killed < most ? setTimeout(() => child.kill(), 150 + 1500 * random()) : undefined;
    const end = await child.ended;
    clearTimeout(timer);
    const after = read(place);
    const begins = after.starts.slice(before.starts.length);
    for (const step of begins.filter(() => before.starts.length > 0)) {
      counts.resumes++;
      const last = Math.max(0, ...before.saved);
      if (step < last) trouble.push(`resumed at step ${step}, though step ${last} had been saved`);
    }
    trouble.push(...after.warnings.slice(before.warnings.length));
    if (end === 'code 0') return { killed, trouble, log: after };
    if (end !== 'signal SIGKILL') return { killed, trouble: [...trouble, `ended with ${end}`], log: after };
    killed++;
    if (hasUnfinished(join(place, 'checkpoints'))) counts.cutSaves++;
  }
}

/**
 * @param {Run} expected
 * @param {Run} got
 * @returns {string[]} Where a run differs from the undisturbed one.
 */
function differences(expected, got) {
  /** @type {string[]} */
  const found = [];
  const byStep = new Map(expected.progress.map((progress) => [progress.step, JSON.stringify(progress)]));
  for (const progress of got.progress) {
    const text = JSON.stringify(progress);
    if (byStep.get(progress.step) !== text) found.push(`expected ${byStep.get(progress.step)}, got ${text}`);
  }
  const reported = new Set(got.progress.map(({ step }) => step));
  const missing = expected.progress.filter(({ step }) => !reported.has(step));
  if (missing.length > 0) found.push(`no progress of steps ${missing.map(({ step }) => step).join(', ')}`);
  if (JSON.stringify(got.end) !== JSON.stringify(expected.end)) {
    found.push(`expected the end ${JSON.stringify(expected.end)}, got ${JSON.stringify(got.end)}`);
  }
  return found;
}

/**
 * Whether a process was killed while it wrote a checkpoint here.
 *
 * @param {string} directory
 */
function hasUnfinished(directory) {
  return existsSync(directory) && readdirSync(directory).some((name) => name.startsWith('.ddpm-new-'));
}

/** @param {string} place */
function start(place) {
  const child = fork(trainer, [place, flags.steps], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  /** @type {Promise<string>} */
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(signal === null ? `code ${code}` : `signal ${signal}`));
  });
  return { ended, kill: () => child.kill('SIGKILL') };
}

/**
 * @param {string} place
 * @returns {Run}
 */
function read(place) {
  /** @type {Run} */
  const run = { starts: [], saved: [], warnings: [], progress: [], end: undefined };
  for (const line of linesOf(join(place, 'log'))) {
    const [what, value] = JSON.parse(line);
    if (what === 'start') run.starts.push(value);
    else if (what === 'saved') run.saved.push(value);
    else if (what === 'progress') run.progress.push(value);
    else if (what === 'warning') run.warnings.push(value);
    else run.end = value;
  }
  return run;
}

/**
 * The lines of a log, without one that was cut off.
 *
 * @param {string} path
 */
function linesOf(path) {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(0, -1);
  } catch {
    return [];
  }
}

/**
 * Mulberry32: the same numbers for the same seed.
 *
 * @param {number} seed
 */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
