/** The CUDA kernels without a card: compiled for the CPU and held to formulas in float64, and faults in them found. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { temporaryFolder } from '../helpers/folder';
import { build, buildChanged, type Change, run } from './emulation/build';

// The emulation needs makecontext and the compiler that built the addon; where the addon came built, there may be none.
const compiler = process.env.CXX || 'g++';
const here =
  process.platform === 'linux' &&
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, compiler)));

const faults: [string, Change][] = [
  [
    'a barrier dropped: the sum over a block',
    {
      file: 'optimizer.cu',
      from: '    __syncthreads();\n    if (threadIdx.x < half)',
      to: '    if (threadIdx.x < half)',
    },
  ],
  [
    'a barrier dropped: the sums of a piece',
    {
      file: 'group_norm.cuh',
      from: '    __syncthreads();\n    if (threadIdx.y < rows)',
      to: '    if (threadIdx.y < rows)',
    },
  ],
  [
    'a barrier of a warp dropped: what its lanes total',
    { file: 'group_norm.cuh', from: '  __syncwarp();  // the other lanes read them', to: '' },
  ],
  [
    'lanes left out of a sum',
    { file: 'device.cuh', from: 'int distance = kWarp / 2;', to: 'int distance = kWarp / 4;' },
  ],
  ['a write beyond the end', { file: 'images.cu', from: 'i < 4 && first + i < elements', to: 'i < 4' }],
  ['a thread too many', { file: 'sampler_step.cu', from: 'count = min(4, elements - first);', to: 'count = 4;' }],
  ['a mirrored column that is off by one', { file: 'images.cu', from: 'width - 1 - x : x', to: 'width - x : x' }],
  [
    'another image’s noise',
    { file: 'images.cu', from: 'update, p.image)', to: 'update, static_cast<uint32_t>(image))' },
  ],
  [
    'a group’s channels counted from the image’s first',
    {
      file: 'group_norm_gradient.cu',
      from: 'rstd = rows.rstd[first + group.begin]',
      to: 'rstd = rows.rstd[group.begin]',
    },
  ],
  ['the skip’s channels read from the map beside it', { file: 'group_norm.cuh', from: '(c - channels[0])', to: 'c' }],
  ['noise added to a step that has none', { file: 'sampler_step.cu', from: 'k.sigma * z.v[i]', to: 'z.v[i]' }],
  [
    'an update made although the loss is not finite',
    { file: 'optimizer.cu', from: 'if (report->verdict != Verdict::kMade) return;', to: '' },
  ],
  [
    'dropout’s mask of another layer',
    { file: 'dropout.cu', from: '                            layer);', to: '                            layer + 1);' },
  ],
];

/** The checks that are made of what is in a file. */
const checksOf: Record<string, string> = {
  'optimizer.cu': 'update',
  'images.cu': 'images',
  'sampler_step.cu': 'sampler',
  'dropout.cu': 'dropout',
  'group_norm_gradient.cu': 'norm',
  'group_norm.cuh': 'norm',
  'device.cuh': 'norm',
};

(here ? describe : describe.skip)('on the CPU', () => {
  const changed = temporaryFolder();
  let built: string;
  beforeAll(async () => {
    built = mkdtempSync(join(tmpdir(), 'ddpm-emulation-'));
    await build(built);
  }, 120_000);
  afterAll(() => rmSync(built, { recursive: true, force: true }));

  test.each(['forward', 'reverse'] as const)(
    'the kernels compute their formulas, threads in %s order',
    async (order) => {
      const { lines, wrong } = await run(join(built, 'checks'), order);
      expect(wrong).toEqual([]);
      expect(lines.length).toBeGreaterThan(60);
    },
  );

  test.each(faults)(
    'found: %s',
    async (_, change) => {
      const program = await buildChanged(built, changed(), change);
      const found = await Promise.all(
        (['forward', 'reverse'] as const).map((order) => run(program, order, [checksOf[change.file]])),
      );
      expect(found.flatMap(({ wrong }) => wrong)).not.toEqual([]);
    },
    60_000,
  );
});
