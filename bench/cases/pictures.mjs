// Pictures on their way in and out.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inTurns, secondsOf } from '../measure.mjs';
import { ddpm } from '../package.mjs';

const count = 256;

/** @type {import('../index.mjs').Case} */
export async function pictures({ rounds }) {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-'));
  try {
    const model = new ddpm.Ddpm({ ...ddpm.presets.tiny, device: 'cpu' });
    const images = await model.sample(count, { sampler: 'ddim', steps: 1, seed: 1 });
    await model.dispose();
    await images.save(join(folder, '{index}.png'));
    const measured = await inTurns(
      [
        { name: 'a folder of PNG to a data set', run: () => secondsOf(() => ddpm.imageFolder(folder, { size: 32 })) },
        { name: 'a grid to PNG', run: () => secondsOf(() => images.grid().png()) },
        { name: 'each to a file', run: () => secondsOf(() => images.save(join(folder, '{index}.png'))) },
      ],
      rounds,
    );
    return { rows: measured.map((one) => ({ case: `${count} pictures of 32×32`, ...one })), ratios: [] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
