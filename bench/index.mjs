// Benchmarks, and the peers that they run against: see README.md beside.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { eventLoop } from './cases/eventLoop.mjs';
import { forward } from './cases/forward.mjs';
import { pictures } from './cases/pictures.mjs';
import { memory, requireTime, startUp } from './cases/processes.mjs';
import { quality } from './cases/quality.mjs';
import { sampling } from './cases/sampling.mjs';
import { training } from './cases/training.mjs';
import { binding } from './package.mjs';
import { Peer } from './peer.mjs';
import { print } from './report.mjs';

/**
 * @typedef {object} Row
 * @property {string} case
 * @property {string} name Whose: ours, and in which precision, or the peer's.
 * @property {number} median Seconds, unless `unit` says otherwise.
 * @property {number} fastest
 * @property {number[]} all
 * @property {string} [unit]
 *
 * @typedef {object} Ratio
 * @property {string} what
 * @property {number} value
 * @property {number} [limit] What it is to stay below.
 *
 * @typedef {object} Context
 * @property {number} rounds
 * @property {('cifar10' | 'tiny')[]} presets
 * @property {Peer} [peer]
 * @property {string} [python]
 * @property {boolean} quick
 *
 * @typedef {(context: Context) => Promise<{ rows: Row[], ratios: Ratio[] }>} Case
 */

/** @type {Record<string, Case>} */
const cases = { forward, training, sampling, memory, startUp, requireTime, pictures, eventLoop, quality };

const { values: flags } = parseArgs({
  options: {
    'peer-python': { type: 'string' },
    only: { type: 'string', default: Object.keys(cases).join() },
    presets: { type: 'string', default: 'cifar10,tiny' },
    rounds: { type: 'string', default: '7' },
    out: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const chosen = flags.only.split(',');
const unknown = chosen.filter((name) => !(name in cases));
if (unknown.length > 0) throw new Error(`--only: expected some of ${Object.keys(cases).join()}, got ${unknown.join()}`);

const python = flags['peer-python'];
const peer = python === undefined ? undefined : new Peer(python);
const context = {
  rounds: Number(flags.rounds),
  presets: /** @type {Context['presets']} */ (flags.presets.split(',')),
  peer,
  python,
  quick: flags.quick,
};
const result = {
  date: new Date().toISOString(),
  machine: { cpu: cpus()[0].model, processors: cpus().length, platform: `${process.platform}-${process.arch}` },
  versions: {
    node: process.version,
    libtorch: binding.native().libtorchVersion,
    ...(await peer?.ask({ job: 'versions' }))?.versions,
  },
  rows: /** @type {Row[]} */ ([]),
  ratios: /** @type {Ratio[]} */ ([]),
};
for (const name of chosen) {
  const { rows, ratios } = await cases[name](context);
  result.rows.push(...rows);
  result.ratios.push(...ratios);
  print({ rows, ratios });
}
peer?.close();
if (flags.out) writeFileSync(flags.out, `${JSON.stringify(result, null, 2)}\n`);
