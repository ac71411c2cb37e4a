// Ends processes and worker threads in every way while models are at work in them, again and again, and says which end
// was not the one it must be: another exit code, a signal, output that is missing, or no end at all. Needs the build of
// lib/ (`npm run build:ts`).
//
//   npm run stress                                  every scenario of test/lifecycle/scenarios.json, 50 times
//   npm run stress -- --repeats 5 --only 'worker'   those whose name matches, 5 times
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string[]} program A program of test/lifecycle/programs, and its arguments.
 * @property {number} [code] How it must end: with this exit code,
 * @property {string} [signal] or by this signal.
 * @property {string} [stdout] What must be in its output.
 * @property {string} [stderr]
 */

const lifecycle = fileURLToPath(new URL('../test/lifecycle/', import.meta.url));

const { values: flags } = parseArgs({
  options: {
    repeats: { type: 'string', default: '50' },
    only: { type: 'string', default: '' },
    // Seconds that one process may take.
    limit: { type: 'string', default: '60' },
  },
});

const [repeats, limit] = [positive('repeats'), positive('limit')];

/** @type {Scenario[]} */
const all = JSON.parse(readFileSync(`${lifecycle}scenarios.json`, 'utf8'));
const scenarios = all.filter(({ name }) => new RegExp(flags.only).test(name));
if (scenarios.length === 0) throw new Error(`--only: no scenario's name matches ${flags.only}`);

let failures = 0;
for (const scenario of scenarios) {
  /** @type {string[]} */
  const wrong = [];
  let longest = 0;
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    const complaint = await run(scenario);
    longest = Math.max(longest, performance.now() - start);
    if (complaint) wrong.push(complaint);
  }
  const verdict = wrong.length === 0 ? 'ok' : `${wrong.length} wrong`;
  console.log(`${verdict.padEnd(8)} of ${repeats}  longest ${(longest / 1000).toFixed(1)} s  ${scenario.name}`);
  for (const complaint of new Set(wrong)) console.log(complaint.replace(/^/gm, '    '));
  failures += wrong.length;
}
process.exitCode = failures === 0 ? 0 : 1;

/**
 * @param {Scenario} scenario
 * @returns {Promise<string | undefined>} What was wrong with its end.
 */
function run({ program: [name, ...args], ...expected }) {
  // What they save goes there.
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-stress-'));
  const child = spawn(process.execPath, [`${lifecycle}programs/${name}.cjs`, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder, TEMP: folder },
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => {
    output.stdout += data;
  });
  child.stderr.on('data', (data) => {
    output.stderr += data;
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, 1000 * limit);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
      const end = late ? `did not end within ${limit} s` : `ended with ${signal ?? `code ${code}`}`;
      const right =
        !late &&
        code === (expected.code ?? null) &&
        signal === (expected.signal ?? null) &&
        output.stdout.includes(expected.stdout ?? '') &&
        output.stderr.includes(expected.stderr ?? '');
      resolve(right ? undefined : `${end}\n${output.stdout}${output.stderr}`.trimEnd());
    });
  });
}

/**
 * A flag that is a number: none at all would be a run of nothing, and well.
 *
 * @param {'repeats' | 'limit'} name
 */
function positive(name) {
  const value = Number(flags[name]);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${name}: expected a positive whole number, got ${flags[name]}`);
}
