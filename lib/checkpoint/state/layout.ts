/**
 * The files of a checkpoint, relative to its folder. It is a saved model (see `../layout.ts`), so diffusers and
 * `Ddpm.load()` read it as one, with the rest of the training's state beside.
 */
import type { NativeStateSet } from '../../binding';
import { layout as modelLayout } from '../model/layout';

export const layout = {
  ...modelLayout,
  /** Adam's moments, named as PyTorch does: `exp_avg.` and `exp_avg_sq.` before the parameter's name. */
  optimizer: 'optimizer.safetensors',
  /** Lists the files with their checksums: written last, and read first. */
  manifest: 'checkpoint.json',
} as const;

const NAME = /^step-(\d{9,})(?:-(\d+))?$/;

/** The folder's name for a step; `copy` from 0 tells apart those of one step. */
export function folderName(step: number, copy: number): string {
  const name = `step-${String(step).padStart(9, '0')}`;
  return copy === 0 ? name : `${name}-${copy}`;
}

/** The step and the copy of a folder by its name; undefined for another's name. */
export function parseFolderName(name: string): { step: number; copy: number } | undefined {
  const match = NAME.exec(name);
  if (!match) return undefined;
  return { step: Number(match[1]), copy: Number(match[2] ?? 0) };
}

/** The sets of values in each file of weights, with what stands there before a parameter's name. */
export const setsOf: Readonly<Record<string, readonly (readonly [set: NativeStateSet, prefix: string])[]>> = {
  [layout.weights]: [['ema', '']],
  [layout.rawWeights]: [['raw', '']],
  [layout.optimizer]: [
    ['firstMoment', 'exp_avg.'],
    ['secondMoment', 'exp_avg_sq.'],
  ],
};
