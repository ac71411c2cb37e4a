/** Trainings to stop and to take up. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Dataset,
  type Ddpm,
  type DdpmConfig,
  fromPixels,
  type TrainOptions,
  type TrainProgress,
} from '../../../lib';
import { layout } from '../../../lib/checkpoint/state/layout';
import { flat, small, valuesOf } from '../../model/models';
import { uniforms } from '../../model/numbers';

/** Something changes from step to step wherever anything can: dropout, classes, a warm-up. */
export const config: DdpmConfig = {
  ...small,
  unet: { ...small.unet, dropout: 0.2, classes: 3 },
  optimizer: { learningRate: 1e-3, warmupSteps: 15 },
  seed: 5,
};

/** How the trainings here go; mirrored images and accumulated gradients among it. */
export const options = { batchSize: 4, gradientAccumulation: 2, horizontalFlip: true } satisfies Partial<TrainOptions>;

/** 21 grey 8×8 images of three classes: epochs end in the middle of batches. */
export function images(seed = 1): Promise<Dataset> {
  const uniform = uniforms(seed);
  const levels = Uint8Array.from({ length: 21 * 64 }, () => Math.floor(256 * uniform()));
  return fromPixels(levels, {
    count: 21,
    height: 8,
    width: 8,
    channels: 1,
    labels: Array.from({ length: 21 }, (_, i) => i % 3),
  });
}

/** All that a model has learned, in short. */
export async function fingerprint(ddpm: Ddpm): Promise<string> {
  const hash = createHash('sha256').update(`${ddpm.step}`);
  for (const weights of ['raw', 'ema'] as const) hash.update(flat(await valuesOf(ddpm, weights)));
  return hash.digest('hex');
}

/** What of a report of progress must not depend on stops. */
export function essence({ step, loss, learningRate, gradientNorm, skippedSteps }: TrainProgress): unknown {
  return { step, loss, learningRate, gradientNorm, skippedSteps };
}

/** The warnings that Node emits while the work runs. */
export async function warningsOf(work: () => Promise<unknown>): Promise<{ code: string; message: string }[]> {
  const warnings: { code: string; message: string }[] = [];
  const spy = jest.spyOn(process, 'emitWarning').mockImplementation((message, warning) => {
    warnings.push({ code: (warning as { code: string }).code, message: String(message) });
  });
  try {
    await work();
  } finally {
    spy.mockRestore();
  }
  return warnings;
}

/** Changes one file. */
export function edit(path: string, change: (bytes: Buffer) => Uint8Array): void {
  writeFileSync(path, change(readFileSync(path)));
}

/** The manifest of a checkpoint as it is on the disk. */
export function manifestOf(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, layout.manifest), 'utf8'));
}
