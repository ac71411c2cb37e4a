/** The event loop goes on while a model of 35.7M parameters loads, trains, samples, is saved and resumed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm, presets } from '../../lib';
import { run } from './programs';

const longestGap = 50;
const works = ['load', 'train', 'sample', 'png', 'save', 'checkpoint', 'resume', 'parameters', 'dispose'];

test('a timer of 10 ms waits less than 50', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-event-loop-'));
  try {
    const ddpm = new Ddpm(presets.cifar10);
    await ddpm.save(folder);
    await ddpm.dispose();
    // Other programs on the machine can only make a gap longer: what counts is the best of several tries.
    let best: Record<string, number> = {};
    for (let attempt = 0; attempt < 8; attempt++) {
      const gaps = await run<Record<string, number>>('eventLoop.cjs', [folder]);
      expect(Object.keys(gaps)).toEqual(works);
      best = Object.fromEntries(works.map((work) => [work, Math.min(gaps[work], best[work] ?? Infinity)]));
      if (Math.max(...Object.values(best)) < longestGap) break;
    }
    for (const work of works)
      expect({ work, ok: best[work] < longestGap, gap: best[work] }).toMatchObject({ ok: true });
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 600_000);
