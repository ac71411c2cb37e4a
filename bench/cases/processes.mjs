// Whole processes: their most memory, and the time from their start to a first picture.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inTurns, secondsOf, summary } from '../measure.mjs';
import { ddpm } from '../package.mjs';
import { peerScript } from '../peer.mjs';

const execute = promisify(execFile);
const ours = fileURLToPath(new URL('../alone.mjs', import.meta.url));

/**
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<number>} Bytes, as the process tells.
 */
async function bytesOf(program, args) {
  const { stdout } = await execute(program, args);
  return JSON.parse(stdout).bytes;
}

/** @type {import('../index.mjs').Case} */
export async function memory({ rounds, python }) {
  const rows = [];
  const ratios = [];
  const times = Math.max(1, Math.floor(rounds / 3));
  for (const what of ['sampling', 'training']) {
    const sides = ['float32', 'bfloat16'].map((precision) => ({
      name: `ours ${precision}`,
      run: () => bytesOf(process.execPath, [ours, `memory-${what}`, precision]),
    }));
    for (const precision of python ? ['float32', 'bfloat16'] : []) {
      const run = () => bytesOf(/** @type {string} */ (python), [peerScript, `memory-${what}`, precision]);
      sides.push({ name: `peer ${precision}`, run });
    }
    const measured = await inTurns(sides, times, { first: 0 });
    rows.push(...measured.map((one) => ({ case: `peak memory of ${what}, cifar10, 8 images`, unit: 'bytes', ...one })));
    if (!python) continue;
    const of = (/** @type {string} */ name) => measured.find((one) => one.name === name)?.median ?? Number.NaN;
    for (const precision of ['float32', 'bfloat16']) {
      const value = of(`ours ${precision}`) / of(`peer ${precision}`);
      ratios.push({ what: `peak memory of ${what}: ${precision} / peer`, value, limit: 0.8 });
    }
  }
  return { rows, ratios };
}

/** @type {import('../index.mjs').Case} */
export async function startUp({ rounds, python }) {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-'));
  try {
    const model = new ddpm.Ddpm({ ...ddpm.presets.cifar10, device: 'cpu' });
    await model.save(folder);
    await model.dispose();
    const side = (/** @type {string} */ name, /** @type {string} */ program, /** @type {string} */ script) => ({
      name,
      run: () => secondsOf(() => execute(program, [script, 'start', folder])),
    });
    const sides = [side('ours', process.execPath, ours)];
    if (python) sides.push(side('peer', python, peerScript));
    const measured = await inTurns(sides, Math.max(3, Math.floor(rounds / 2)));
    const rows = measured.map((one) => ({ case: 'start to first picture, cifar10, 5 steps', ...one }));
    const limit = 0.3;
    const ratios = python
      ? [{ what: 'start to first picture / peer', value: rows[0].median / rows[1].median, limit }]
      : [];
    return { rows, ratios };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @type {import('../index.mjs').Case} */
export async function requireTime({ rounds }) {
  const script = "const start = performance.now(); require('./'); console.log(performance.now() - start)";
  const seconds = [];
  for (let i = 0; i < rounds; i++) {
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const { stdout } = await execute(process.execPath, ['-e', script], { cwd });
    seconds.push(Number(stdout) / 1000);
  }
  return { rows: [{ case: 'require()', ...summary('ours', seconds) }], ratios: [] };
}
