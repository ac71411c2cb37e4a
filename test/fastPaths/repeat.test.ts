/** On one thread and on several, by the fast paths and without: the same seed gives the same bits, also after a stop. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { printedBy } from './programs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-repeat-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe.each<Record<string, string>>([
  { OMP_NUM_THREADS: '1' },
  { OMP_NUM_THREADS: '2' },
  { OMP_NUM_THREADS: '2', DDPM_PLAIN: '1' },
])('%j', (env) => {
  test.each(['float32', 'bfloat16'])('%s', async (precision) => {
    const run = async (stop: number) => JSON.parse(await printedBy('repeat.cjs', [precision, folder, `${stop}`], env));
    const first = await run(0);
    expect(await run(0)).toEqual(first);
    expect(await run(2)).toEqual(first);
  });
});
