/** The warning about a schedule that leaves much of the image at its end. */
import { join } from 'node:path';
import { Ddpm, type DiffusionOptions } from '../../lib';
import type { tellOfSignal } from '../../lib/terminalSignal';
import { root, runNode } from '../setup/helpers';
import { small } from './models';

/** The warning for a schedule, as a process tells it that has told nothing yet. */
function warning(diffusion: DiffusionOptions): string | undefined {
  let told: string | undefined;
  const spy = jest.spyOn(process, 'emitWarning').mockImplementation((text, options) => {
    expect(options).toEqual({ type: 'DdpmWarning', code: 'DDPM_SIGNAL_LEFT' });
    told = String(text);
  });
  try {
    using ddpm = new Ddpm({ ...small, diffusion });
    told = undefined;
    jest.isolateModules(() => {
      const isolated = require('../../lib/terminalSignal') as { tellOfSignal: typeof tellOfSignal };
      isolated.tellOfSignal(ddpm.diffusion.schedule('sqrt_alphas_cumprod'));
    });
  } finally {
    spy.mockRestore();
  }
  return told;
}

test.each<[DiffusionOptions, number]>([
  [{ timesteps: 100 }, 60],
  [{ timesteps: 10 }, 95],
  [{ timesteps: 400 }, 13],
  [{ betaEnd: 1e-3 }, 76],
  [{ betas: [0.1, 0.2] }, 85],
  [{ timesteps: 200, betaSchedule: 'scaled_linear' }, 49],
])('%j leaves %d %', (diffusion, percent) => {
  expect(warning(diffusion)).toMatch(
    new RegExp(`^diffusion: with \\d+ timesteps of these betas ${percent} % of the image's`),
  );
});

test.each<DiffusionOptions>([
  {},
  { timesteps: 500 },
  { timesteps: 100, betaSchedule: 'cosine' },
  { timesteps: 1, betaSchedule: 'cosine' },
  { timesteps: 100, betaEnd: 0.2 },
  { betaSchedule: 'scaled_linear', betaStart: 0.00085, betaEnd: 0.012 },
])('%j is told nothing of', (diffusion) => {
  expect(warning(diffusion)).toBeUndefined();
});

test('a process is told once, of the first such model', async () => {
  const program = `
    const { Ddpm } = require(${JSON.stringify(join(root, 'dist'))});
    const config = ${JSON.stringify(small)};
    for (const timesteps of [1000, 100, 10]) new Ddpm({ ...config, diffusion: { timesteps } }).dispose();`;
  const { DDPM_ADDON, LD_PRELOAD } = process.env;
  const env = Object.fromEntries(Object.entries({ DDPM_ADDON, LD_PRELOAD }).filter(([, value]) => value !== undefined));
  const { code, stderr } = await runNode(['-e', program], env);
  expect(code).toBe(0);
  expect(stderr.match(/DdpmWarning: .*/g)).toEqual([
    expect.stringMatching(
      /^DdpmWarning: diffusion: with 100 timesteps of these betas 60 % of the image's amplitude is left/,
    ),
  ]);
});
