/** A training that could not save its checkpoints says so in its result. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, Ddpm, type TrainResult } from '../../../lib';
import { temporaryFolder } from '../../helpers/folder';
import { randomImages } from '../../model/datasets';
import { small } from '../../model/models';

const folder = temporaryFolder();

/** Trains with a checkpoint every two steps. */
async function train(directory: string, steps = 6, callbacks: Partial<CheckpointOptions> = {}): Promise<TrainResult> {
  await using ddpm = new Ddpm(small);
  return await ddpm.train(await randomImages(4), {
    steps,
    batchSize: 2,
    checkpoint: { directory, every: 2, onError: () => {}, ...callbacks },
  });
}

test('none could be saved', async () => {
  const directory = join(folder(), 'file');
  writeFileSync(directory, 'not a folder');
  const { step, checkpoint, checkpointError } = await train(directory);
  expect({ step, checkpoint }).toEqual({ step: 6, checkpoint: undefined });
  expect(checkpointError).toMatchObject({ name: 'DdpmError', code: 'ERR_IO' });
});

test('the last could not be saved, and an earlier one was', async () => {
  const directory = join(folder(), 'checkpoints');
  const result = await train(directory, 4, {
    onSave: () => {
      // From now on there is a file in the folder's place.
      rmSync(directory, { recursive: true });
      writeFileSync(directory, '');
    },
  });
  expect(result.checkpoint).toMatch(/step-000000002$/);
  expect(result.checkpointError).toMatchObject({ code: 'ERR_IO' });
});

test('what failed before the last is past', async () => {
  const directory = join(folder(), 'checkpoints');
  writeFileSync(directory, '');
  let failed = 0;
  const result = await train(directory, 4, {
    onError: () => {
      failed++;
      rmSync(directory);
      mkdirSync(directory);
    },
  });
  expect(failed).toBe(1);
  expect(result.checkpoint).toMatch(/step-000000004$/);
  expect(result).not.toHaveProperty('checkpointError');
});

test('all were saved, and none were asked for', async () => {
  const result = await train(join(folder(), 'checkpoints'));
  expect(result.checkpoint).toMatch(/step-000000006$/);
  expect(result).not.toHaveProperty('checkpointError');
  await using ddpm = new Ddpm(small);
  expect(await ddpm.train(await randomImages(4), { steps: 1, batchSize: 2 })).not.toHaveProperty('checkpointError');
});
