// Trains a small model that saves a checkpoint every second step, kills it at chosen events, resumes it, and compares it
// with one that was never stopped. The events do not depend on how fast the machine is: after the n-th report that follows
// a save, before the n-th call of the file system in a save, or while a checkpoint is read; in half of the kills the power
// goes as well, and takes what was not flushed. Every resume must succeed, without a warning, from no older a checkpoint
// than the last one whose save had ended; every loss, gradient norm and learning rate, the position in the data order and
// the final weights must be the same, bit for bit. And the kills must have happened: fewer of them, fewer in the middle of
// a save or fewer resumes from a checkpoint than asked for is a failure. Needs the build of lib/ (`npm run build:ts`).
//
//   npm run soak                                200 kills
//   npm run soak -- --kills 20 --seed 7         20, at the events that this seed gives
//   npm run soak -- --kills 10 --fault fsync    must fail: the fsync of a file of the state is left out
//   npm run soak -- --kills 10 --fault step     must fail: a resumed training goes on one step too far
import { fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
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
 * @property {{ at: string, where: string, inSave: boolean }[]} kills
 * @property {number} calls Of the file system, in a save.
 * @property {{ step: number, imagesSeen: number, weights: string } | undefined} end
 */

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    // At least so many of them in the middle of a save, and so many resumes from a checkpoint; left out, a tenth of the kills
    // and six tenths.
    'mid-save': { type: 'string' },
    resumes: { type: 'string' },
    seed: { type: 'string', default: '1' },
    // Updates of one run; a run that has ended before all kills are done is followed by another.
    steps: { type: 'string', default: '300' },
    // Seconds that one process may take.
    limit: { type: 'string', default: '300' },
    fault: { type: 'string' },
  },
});
const kills = wholeNumber('kills', flags.kills);
const steps = wholeNumber('steps', flags.steps);
const limit = wholeNumber('limit', flags.limit);
const wanted = {
  kills,
  cutSaves: wholeNumber('mid-save', flags['mid-save'] ?? String(Math.ceil(kills / 10))),
  resumes: wholeNumber('resumes', flags.resumes ?? String(Math.ceil(0.6 * kills))),
};
if (flags.fault !== undefined && !['fsync', 'step'].includes(flags.fault)) {
  throw new Error(`--fault: expected fsync or step, got ${flags.fault}`);
}
const random = randomFrom(wholeNumber('seed', flags.seed));
const trainer = fileURLToPath(new URL('soak/trainer.mjs', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'ddpm-soak-'));
try {
  const problems = await soak();
  for (const problem of problems.slice(0, 10)) console.error(problem);
  if (problems.length > 10) console.error(`and ${problems.length - 10} more`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function soak() {
  const begun = performance.now();
  const undisturbed = await runOf(join(folder, 'undisturbed'));
  const whole = (performance.now() - begun) / 1000;
  console.log(`${steps} steps without a stop: ${whole.toFixed(1)} s, ${undisturbed.saved.length} checkpoints`);

  const problems = shortcomings(undisturbed);
  const counts = { kills: 0, cutSaves: 0, resumes: 0 };
  // A run that is not killed at all has ended before its event; that must not go on for ever.
  for (let run = 1, idle = 0; problems.length === 0 && counts.kills < kills && idle < 5; run++) {
    const before = counts.kills;
    const { trouble, log } = await killedRun(join(folder, `killed-${run}`), undisturbed.calls, counts);
    idle = counts.kills === before ? idle + 1 : 0;
    problems.push(...trouble.map((text) => `run ${run}: ${text}`));
    problems.push(...differences(undisturbed, log).map((text) => `run ${run}: ${text}`));
    console.log(`run ${run}: ${counts.kills - before} kills, resumed at steps ${log.starts.slice(1).join(', ')}`);
  }
  if (problems.length === 0) {
    if (counts.kills < wanted.kills) problems.push(`expected ${wanted.kills} kills, got ${counts.kills}`);
    if (counts.cutSaves < wanted.cutSaves) {
      problems.push(`expected at least ${wanted.cutSaves} kills in the middle of a save, got ${counts.cutSaves}`);
    }
    if (counts.resumes < wanted.resumes) {
      problems.push(`expected at least ${wanted.resumes} resumes from a checkpoint, got ${counts.resumes}`);
    }
  }
  const cut = `${counts.cutSaves} of them in the middle of a save`;
  console.log(`${counts.kills} kills, ${cut}; ${counts.resumes} resumes; ${problems.length} problems`);
  return problems;
}

/**
 * @param {string} place
 * @returns {Promise<Run>} A run that nobody kills.
 */
async function runOf(place) {
  mkdirSync(place);
  const end = await processOf(place, { at: 'never', n: 0 });
  if (end !== 'code 0') throw new Error(`a run without a stop ended with ${end}`);
  return read(place);
}

/**
 * What the undisturbed run lacks of what the others are held against: nothing compared with nothing would be the same.
 *
 * @param {Run} run
 */
function shortcomings({ progress, saved, calls, end, warnings }) {
  const found = warnings.map((text) => `without a stop: ${text}`);
  if (progress.length !== steps) found.push(`without a stop: expected ${steps} reports, got ${progress.length}`);
  if (saved.length < 3) found.push(`without a stop: expected at least 3 checkpoints, got ${saved.length}`);
  if (!(calls > 10)) found.push(`without a stop: expected a save to be watched, saw ${calls} calls of it`);
  if (end === undefined) found.push('without a stop: it did not tell its end');
  return found;
}

/**
 * A run that is killed until all kills are done, and then left to end.
 *
 * @param {string} place
 * @param {number} calls Of the file system, in a save.
 * @param {{ kills: number, cutSaves: number, resumes: number }} counts Counted up.
 */
async function killedRun(place, calls, counts) {
  mkdirSync(place);
  /** @type {string[]} */
  const trouble = [];
  for (;;) {
    const before = read(place);
    const end = await processOf(
      place,
      counts.kills < kills ? planOf(calls, before.saved.length > 0) : { at: 'never', n: 0 },
    );
    const after = read(place);
    for (const step of after.starts.slice(before.starts.length)) {
      if (step > 0) counts.resumes++;
      const last = Math.max(0, ...before.saved);
      if (step < last) trouble.push(`resumed at step ${step}, though step ${last} had been saved`);
    }
    trouble.push(...after.warnings.slice(before.warnings.length));
    if (end === 'code 0') return { trouble, log: after };
    const [kill, ...others] = after.kills.slice(before.kills.length);
    if (end !== 'signal SIGKILL' || kill === undefined || others.length > 0) {
      return { trouble: [...trouble, `ended with ${end}`], log: after };
    }
    counts.kills++;
    if (kill.inSave) counts.cutSaves++;
    if (trouble.length > 0) return { trouble: [...trouble, `after a kill at: ${kill.where}`], log: after };
  }
}

/**
 * The event at which the next process dies.
 *
 * @param {number} calls Of the file system, in a save.
 * @param {boolean} hasCheckpoint
 * @returns {import('./soak/trainer.mjs').Plan}
 */
function planOf(calls, hasCheckpoint) {
  const choice = random();
  const cut = random() < 0.5;
  const upTo = (/** @type {number} */ n) => 1 + Math.floor(n * random());
  if (choice < 0.5) return { at: 'save', n: upTo(calls), save: 1 + upTo(3), cut };
  if (choice < 0.9 || !hasCheckpoint) return { at: 'report', n: upTo(20), cut };
  return { at: 'read', n: upTo(8), cut };
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
 * Runs one process; how it ended.
 *
 * @param {string} place
 * @param {import('./soak/trainer.mjs').Plan} plan
 * @returns {Promise<string>}
 */
function processOf(place, plan) {
  const text = JSON.stringify({ ...plan, fault: flags.fault });
  const child = fork(trainer, [place, flags.steps, text], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // So small a network gains nothing from more threads, and other processes may want the cores.
    env: { OMP_NUM_THREADS: '1', ...process.env },
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, 1000 * limit);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      if (late) resolve(`no end within ${limit} s`);
      else resolve(signal === null ? `code ${code}` : `signal ${signal}`);
    });
  });
}

/**
 * @param {string} place
 * @returns {Run}
 */
function read(place) {
  /** @type {Run} */
  const run = { starts: [], saved: [], warnings: [], progress: [], kills: [], calls: 0, end: undefined };
  for (const line of linesOf(join(place, 'log'))) {
    const [what, value] = JSON.parse(line);
    if (what === 'start') run.starts.push(value);
    else if (what === 'saved') run.saved.push(value);
    else if (what === 'progress') run.progress.push(value);
    else if (what === 'warning') run.warnings.push(value);
    else if (what === 'kill') run.kills.push(value);
    else if (what === 'calls') run.calls = value;
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
 * @param {string} name
 * @param {string} text
 */
function wholeNumber(name, text) {
  if (!/^\d+$/.test(text)) throw new Error(`--${name}: expected a whole number, got ${text}`);
  return Number(text);
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
