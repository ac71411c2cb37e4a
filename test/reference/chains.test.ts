/** Whole ancestral chains, network and all, against those of the reference implementation. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm } from '../../lib';
import { device } from '../helpers/device';
import { readTensors, referencePath } from '../helpers/fixtures';
import { relativeToLargest } from '../model/numbers';

/** The reference network in a folder whose scheduler has other settings. */
async function loadWithScheduler(settings: Record<string, unknown>): Promise<Ddpm> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-chain-'));
  try {
    await cp(referencePath('unet', 'ho-rgb-32'), folder, { recursive: true });
    const file = join(folder, 'scheduler', 'scheduler_config.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...settings }));
    return await Ddpm.load(folder, { device });
  } finally {
    await rm(folder, { recursive: true });
  }
}

test.each(['small', 'large'])('20 ancestral steps with fixed_%s variance and given betas', async (size) => {
  const chain = await readTensors(referencePath(`chain_T20_fixed_${size}.safetensors`));
  const betas = [...(chain.betas.data as Float64Array)];
  await using ddpm = await loadWithScheduler({
    trained_betas: betas,
    num_train_timesteps: 20,
    variance_type: `fixed_${size}`,
  });
  expect(ddpm.config.diffusion).toMatchObject({ betas, timesteps: 20, varianceType: `fixed_${size}` });

  const noise = chain.noise.data as Float32Array; // of t = 19 … 0
  let x = chain.x_T.data as Float32Array;
  for (let t = 19; t >= 0; t--) {
    const output = await ddpm.predictNoise(x, t);
    const z = noise.subarray((19 - t) * x.length, (20 - t) * x.length);
    x = ddpm.diffusion.step(output, t, x, { noise: z }).prev.data;
  }
  expect(relativeToLargest(x, chain.x_0.data as Float32Array)).toBeLessThanOrEqual(1e-4);
});
