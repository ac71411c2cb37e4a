/**
 * Nothing comes out of memory that nobody wrote: where new memory is filled with NaN, networks say the same, bit for bit.
 * All tests run with such memory, on one thread; here are the narrow maps, at which LibTorch's bfloat16 convolutions read
 * it, and more threads.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DdpmConfig } from '../../lib';
import { savedRandomModel } from '../model/models';
import { printedBy } from './programs';

const root = join(__dirname, '..', '..');

const precisions = ['bfloat16', 'float32'];

/** Maps become half as wide and high at each level but the last. */
const shapes = [
  { height: 40, width: 8, levels: 4, channels: 12 },
  { height: 80, width: 4, levels: 3, channels: 16 },
  { height: 4, width: 4, levels: 3, channels: 32 },
  { height: 12, width: 1, levels: 1, channels: 16 },
];

const networks = shapes.flatMap(({ height, width, levels, channels }): DdpmConfig[] =>
  (['asymmetric', 'symmetric'] as const).map((downsamplePadding) => ({
    image: { height, width, channels: 3 },
    unet: {
      channels,
      channelMultipliers: Array(levels).fill(1),
      blocksPerLevel: 1,
      attentionResolutions: [height],
      normGroups: 1,
      dropout: 0,
      downsamplePadding,
    },
    diffusion: { timesteps: 50 },
    optimizer: { gradientClip: null },
    device: 'cpu',
    seed: 1,
  })),
);

/** A line of outputs.cjs as a hash of its numbers, and whether its losses are finite: in JSON, others are null. */
function summary(line: string) {
  const { losses } = JSON.parse(line) as { losses: (number | null)[] };
  return { hash: createHash('sha256').update(line).digest('hex'), finite: !losses.includes(null) };
}

let folder: string;
let list: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-poison-'));
  list = join(folder, 'list.json');
  const entries = [];
  for (const [seed, config] of networks.entries()) {
    const model = join(folder, String(seed));
    await savedRandomModel(model, config, seed);
    for (const precision of precisions) entries.push({ folder: model, batch: 2, offset: 0, seed, precision });
  }
  writeFileSync(list, JSON.stringify(entries));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['1', 'true'],
  ['', 'false'],
])('DDPM_POISON=%s: new memory is filled: %s', async (poison, filled) => {
  const program = `console.log(require(${JSON.stringify(join(root, 'dist', 'binding.js'))}).native().memoryIsPoisoned)`;
  const env = { ...process.env, DDPM_POISON: poison };
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { env });
  expect(stdout.trim()).toBe(filled);
});

test.each<Record<string, string>>([
  { OMP_NUM_THREADS: '1' },
  { OMP_NUM_THREADS: '2' },
  { OMP_NUM_THREADS: '1', DDPM_CPU_ISA: 'avx2' },
  { OMP_NUM_THREADS: '1', DDPM_CPU_ISA: 'baseline' },
  { OMP_NUM_THREADS: '1', DDPM_PLAIN: '1' },
  { OMP_NUM_THREADS: '2', DDPM_PLAIN: '1' },
])('narrow maps: outputs, gradients and losses: %j', async (env) => {
  const results = async (DDPM_POISON: string) =>
    (await printedBy('outputs.cjs', [list], { ...env, DDPM_POISON })).split('\n').map(summary);
  // One after the other: the threads of both together would be more than many a machine has processors.
  const right = await results('');
  const found = await results('1');
  expect(right).toHaveLength(precisions.length * networks.length);
  expect(found).toEqual(right);
  expect(right.filter(({ finite }) => !finite)).toEqual([]);
});

test.each(['', '1'])('DDPM_PLAIN=%s: oneDNN convolves no narrow maps in bfloat16', async (DDPM_PLAIN) => {
  const printed = await printedBy('outputs.cjs', [list], { OMP_NUM_THREADS: '1', DDPM_PLAIN, ONEDNN_VERBOSE: '1' });
  const convolutions = printed.split('\n').filter((line) => /^onednn_verbose.*,exec,cpu,convolution,/.test(line));
  const shapes = convolutions.map(
    (line) => /src:(?<type>\w+):.*_iw(?<width>\d+)\w+sw(?<stride>\d+)/.exec(line)?.groups,
  );
  expect(shapes.length).toBeGreaterThan(0);
  expect(shapes.filter((shape) => shape === undefined)).toEqual([]);
  const narrow = shapes.filter((shape) => Number(shape?.width) < (shape?.stride === '1' ? 2 : 8));
  expect(narrow.length).toBeGreaterThan(0);
  expect(new Set(narrow.map((shape) => shape?.type))).toEqual(new Set(['f32']));
});

test('two threads: the numbers of the reference implementations', async () => {
  const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js');
  const env = { ...process.env, OMP_NUM_THREADS: '2', DDPM_POISON: '1' };
  const tests = ['networks', 'trainingSteps'].map((name) => `test/reference/${name}.test.ts`);
  const ended = await promisify(execFile)(process.execPath, [jest, '--ci', '--json', ...tests], { cwd: root, env });
  expect(JSON.parse(ended.stdout)).toMatchObject({ numPassedTestSuites: 2, numFailedTests: 0 });
});
