import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { Ddpm } from '../lib';

const demo = join(__dirname, '..', 'scripts', 'demo.mjs');
const run = promisify(execFile);

test('the demo trains, draws a grid and saves the model', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-demo-'));
  try {
    const { stdout } = await run(process.execPath, [demo, '--quick', '--minutes', '0.03', '--out', folder]);
    expect(stdout).toMatch(/^Training on 50 emoji faces of 32×32 pixels/);
    expect(stdout).toMatch(/trained [1-9]\d* steps in 0:\d\d {2}loss/);
    expect(stdout).toContain('samples.png');
    const { width, height } = await sharp(join(folder, 'samples.png')).metadata();
    expect([width, height]).toEqual([4 * (6 * 36 + 4), 4 * (6 * 36 + 4)]);
    const ddpm = await Ddpm.load(join(folder, 'model'));
    expect(ddpm.config.image.height).toBe(32);
    await ddpm.dispose();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('the demo refuses a wrong time before it trains', async () => {
  await expect(run(process.execPath, [demo, '--minutes', 'soon'])).rejects.toMatchObject({
    stderr: expect.stringContaining('--minutes: expected a positive number, got soon'),
  });
});
