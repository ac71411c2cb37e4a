/** The benchmarks run, and write what they say they do. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const program = join(__dirname, '../bench/index.mjs');
const execute = promisify(execFile);

test('times, ratios and a file of them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-test-'));
  try {
    const out = join(folder, 'out.json');
    const flags = [
      '--quick',
      '--only',
      'forward,training,pictures',
      '--presets',
      'tiny',
      '--rounds',
      '2',
      '--out',
      out,
    ];
    const { stdout } = await execute(process.execPath, [program, ...flags]);
    expect(stdout).toMatch(/forward, tiny, batch 16\n {2}ours float32 +\d+\.\d ms {2}fastest \d+\.\d ms\n/);
    const { rows, machine, versions } = JSON.parse(readFileSync(out, 'utf8'));
    expect(machine).toEqual({ cpu: expect.any(String), processors: expect.any(Number), platform: expect.any(String) });
    expect(versions).toEqual({ node: process.version, libtorch: expect.stringMatching(/^\d+\.\d+/) });
    const names = rows.map((row: { case: string; name: string }) => `${row.case}: ${row.name}`);
    expect(names).toEqual(
      expect.arrayContaining([
        'forward, tiny, batch 16: ours bfloat16',
        'training step, tiny, batch 32: ours float32',
        '256 pictures of 32×32: a grid to PNG',
      ]),
    );
    for (const { median, fastest, all } of rows) {
      expect(all).toHaveLength(2);
      expect(fastest).toBeGreaterThan(0);
      expect(median).toBeCloseTo((all[0] + all[1]) / 2, 12);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);

test('a case that is not there is refused by name', async () => {
  await expect(execute(process.execPath, [program, '--only', 'backward'])).rejects.toMatchObject({
    stderr: expect.stringContaining('--only: expected some of forward,training,'),
  });
});
