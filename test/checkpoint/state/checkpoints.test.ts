/** The folder of checkpoints: what is kept, what a crash leaves, what a disk that fails does. */
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import timers from 'node:timers/promises';
import { Ddpm, type SavedCheckpoint } from '../../../lib';
import { failure, temporaryFolder, treeOf } from '../../helpers/folder';
import { sameParameters, small, valuesOf } from '../../model/models';
import { config, edit, fingerprint, images, manifestOf, options, warningsOf } from './support';

const folder = temporaryFolder();
const values = { x0: new Float32Array(64).fill(0.5), noise: new Float32Array(64).fill(-0.25), t: 300 };

/** A model with checkpoints of its steps 1 to `count`. */
async function withCheckpoints(count: number): Promise<Ddpm> {
  const ddpm = new Ddpm(small);
  for (let i = 0; i < count; i++) {
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder());
  }
  return ddpm;
}

const names = () => readdirSync(folder()).sort();

test('a checkpoint is a folder with all that there is, and a saved model', async () => {
  await using ddpm = await withCheckpoints(3);
  const path = join(folder(), 'step-000000003');
  expect(Object.keys(treeOf(path)).sort()).toEqual([
    'checkpoint.json',
    'ddpm_node.json',
    'model_index.json',
    'optimizer.safetensors',
    'scheduler/scheduler_config.json',
    'unet/config.json',
    'unet/diffusion_pytorch_model.raw.safetensors',
    'unet/diffusion_pytorch_model.safetensors',
  ]);
  expect(manifestOf(path)).toMatchObject({
    formatVersion: 1,
    sequence: 3,
    config: ddpm.config,
    counters: { step: 3, updates: 3, averaged: 3, imagesSeen: 3 },
    training: null,
    metric: null,
  });
  await using loaded = await Ddpm.load(path);
  expect(sameParameters(await valuesOf(loaded, 'ema'), await valuesOf(ddpm, 'ema'))).toBe(true);
});

test('saveCheckpoint says what it saved', async () => {
  await using ddpm = new Ddpm(small);
  const saved = await ddpm.saveCheckpoint(folder());
  expect(saved).toEqual({ path: join(folder(), 'step-000000000'), step: 0, bytes: expect.any(Number) });
  const manifest = manifestOf(saved.path) as { files: Record<string, { bytes: number }> };
  expect(saved.bytes).toBe(Object.values(manifest.files).reduce((sum, { bytes }) => sum + bytes, 0));
});

describe('what is kept', () => {
  test('the newest', async () => {
    await using ddpm = await withCheckpoints(4);
    expect(names()).toHaveLength(4);
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder(), { keep: 2 });
    expect(names()).toEqual(['step-000000004', 'step-000000005']);
  });

  test('and the best, if there is a metric', async () => {
    await using ddpm = new Ddpm(small);
    for (const metric of [5, 2, 7, 2.5, undefined]) {
      await ddpm.trainStep(values);
      await ddpm.saveCheckpoint(folder(), { keep: 2, metric });
    }
    expect(names()).toEqual(['step-000000002', 'step-000000004', 'step-000000005']);
  });

  test('newest is what was saved last, not the highest step', async () => {
    const later = await withCheckpoints(3);
    await later.dispose();
    await using back = await Ddpm.resume(join(folder(), 'step-000000001'));
    await back.trainStep(values);
    await back.saveCheckpoint(folder(), { keep: 2 });
    expect(names()).toEqual(['step-000000002-1', 'step-000000003']);
    await using resumed = await Ddpm.resume(folder());
    expect(resumed.step).toBe(2);
  });

  test('one of a step takes the place of another of that step', async () => {
    await using ddpm = await withCheckpoints(1);
    for (let i = 1; i <= 3; i++) {
      const saved = await ddpm.saveCheckpoint(folder());
      expect(saved.path).toBe(join(folder(), `step-000000001-${i}`));
      expect(names()).toEqual([`step-000000001-${i}`]);
    }
  });

  test('nothing else in the folder is touched', async () => {
    writeFileSync(join(folder(), 'notes.txt'), 'mine');
    mkdirSync(join(folder(), 'step-by-step'));
    mkdirSync(join(folder(), 'step-12'));
    await using ddpm = await withCheckpoints(2);
    await ddpm.saveCheckpoint(folder(), { keep: 1 });
    expect(names()).toEqual(['notes.txt', 'step-000000002-1', 'step-12', 'step-by-step']);
  });
});

describe('a damaged one', () => {
  const files = [
    'checkpoint.json',
    'ddpm_node.json',
    'model_index.json',
    'optimizer.safetensors',
    'scheduler/scheduler_config.json',
    'unet/config.json',
    'unet/diffusion_pytorch_model.raw.safetensors',
    'unet/diffusion_pytorch_model.safetensors',
  ];
  const damages: [string, (path: string) => void][] = [
    ['cut at half', (path) => edit(path, (bytes) => bytes.subarray(0, bytes.length >> 1))],
    ['empty', (path) => truncateSync(path)],
    [
      'one bit flipped',
      (path) =>
        edit(path, (bytes) => {
          bytes[Math.floor(bytes.length * 0.6)] ^= 4;
          return bytes;
        }),
    ],
    ['missing', (path) => rmSync(path)],
    [
      'a folder',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
  ];

  test.each(files.flatMap((file) => damages.map(([what, damage]) => ({ file, what, damage }))))(
    '$file: $what',
    async ({ file, damage }) => {
      const ddpm = await withCheckpoints(2);
      await ddpm.dispose();
      const newest = join(folder(), 'step-000000002');
      damage(join(newest, file));
      let step: number | undefined;
      const warnings = await warningsOf(async () => {
        await using resumed = await Ddpm.resume(folder());
        step = resumed.step;
      });
      expect(step).toBe(1);
      expect(warnings).toEqual([{ code: 'DDPM_CHECKPOINT_DAMAGED', message: expect.stringContaining(file) }]);
      expect(warnings[0].message).toContain(
        `The checkpoint before it is used instead: ${join(folder(), 'step-000000001')}`,
      );
      // By itself it is refused; and so it is where it is the only one.
      expect(await failure(Ddpm.resume(newest), 'ERR_CHECKPOINT')).toContain(file);
      rmSync(join(folder(), 'step-000000001'), { recursive: true });
      const text = await failure(Ddpm.resume(folder(), { ifNone: small }), 'ERR_CHECKPOINT');
      expect(text).toMatch(`${folder()}: none of its checkpoints can be used\n`);
      expect(text).toContain(file);
    },
  );

  test('goes when all that are kept are newer', async () => {
    await using ddpm = await withCheckpoints(2);
    truncateSync(join(folder(), 'step-000000002', 'checkpoint.json'));
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder(), { keep: 2 });
    expect(names()).toEqual(['step-000000001', 'step-000000002', 'step-000000003']);
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder(), { keep: 2 });
    expect(names()).toEqual(['step-000000003', 'step-000000004']);
  });

  test('of a later format says so', async () => {
    await using ddpm = await withCheckpoints(1);
    edit(join(folder(), 'step-000000001', 'checkpoint.json'), (bytes) =>
      Buffer.from(bytes.toString().replace('"formatVersion": 1', '"formatVersion": 2')),
    );
    expect(await failure(Ddpm.resume(folder()), 'ERR_CHECKPOINT')).toContain(
      'checkpoint.json: formatVersion: expected 1 (a higher one is of a newer version of this package), got 2 (number)',
    );
    expect(ddpm.step).toBe(1);
  });
});

test('what killed processes left is no checkpoint, and the next save clears it away', async () => {
  await using ddpm = await withCheckpoints(1);
  for (const name of ['.ddpm-new-0123456789ab', '.ddpm-old-0123456789ab']) {
    await fs.cp(join(folder(), 'step-000000001'), join(folder(), name), { recursive: true });
  }
  const warnings = await warningsOf(async () => {
    await using resumed = await Ddpm.resume(folder());
    expect(resumed.step).toBe(1);
  });
  expect(warnings).toEqual([]);
  await ddpm.trainStep(values);
  await ddpm.saveCheckpoint(folder());
  expect(names()).toEqual(['step-000000001', 'step-000000002']);
});

describe('a file that the machine does not let be read', () => {
  afterEach(() => jest.restoreAllMocks());

  /** Has the files of some paths fail, as often as told. */
  function failing(pattern: RegExp, code: string, times = Infinity): void {
    const real = fs.open;
    let left = times;
    jest.spyOn(fs, 'open').mockImplementation((async (...parameters: Parameters<typeof real>) => {
      if (!pattern.test(String(parameters[0])) || left-- <= 0) return real(...parameters);
      throw Object.assign(new Error(`${code}: no luck, open`), { code, syscall: 'open' });
    }) as typeof real);
  }

  test.each(['checkpoint.json', 'optimizer.safetensors'])(
    'too many open: the newest is waited for (%s)',
    async (file) => {
      await (await withCheckpoints(2)).dispose();
      failing(new RegExp(`step-000000002.${file}`), 'EMFILE', 4);
      const warnings = await warningsOf(async () => {
        await using resumed = await Ddpm.resume(folder());
        expect(resumed.step).toBe(2);
      });
      expect(warnings).toEqual([]);
    },
  );

  test('too many open, for good: an older one is no remedy', async () => {
    await (await withCheckpoints(2)).dispose();
    jest.spyOn(timers, 'setTimeout').mockResolvedValue(undefined);
    failing(/step-000000002.optimizer/, 'EMFILE');
    await failure(Ddpm.resume(folder()), 'ERR_IO');
  });

  test('is not taken for damaged, and stays', async () => {
    await using ddpm = await withCheckpoints(2);
    failing(/step-000000001.checkpoint\.json/, 'EACCES');
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder(), { keep: 1 });
    expect(names()).toEqual(['step-000000001', 'step-000000003']);
  });
});

describe('a save that fails', () => {
  test('rejects with the reason, leaves nothing, and the model goes on', async () => {
    await using ddpm = await withCheckpoints(1);
    const before = treeOf(folder());
    await ddpm.trainStep(values);
    const spy = jest.spyOn(fs, 'rename').mockImplementation(() => {
      return Promise.reject(Object.assign(new Error('EIO: i/o error, rename'), { code: 'EIO', syscall: 'rename' }));
    });
    try {
      const text = await failure(ddpm.saveCheckpoint(folder()), 'ERR_IO');
      expect(text).toContain('EIO: i/o error');
    } finally {
      spy.mockRestore();
    }
    expect(treeOf(folder())).toEqual(before);
    await ddpm.trainStep(values);
    await ddpm.saveCheckpoint(folder());
    expect(names()).toEqual(['step-000000001', 'step-000000003']);
  });

  test('no room: nothing is written', async () => {
    await using ddpm = new Ddpm(small);
    const spy = jest.spyOn(fs, 'statfs').mockResolvedValue({ blocks: 9, bfree: 3, bavail: 3, bsize: 4096 } as never);
    try {
      const text = await failure(ddpm.saveCheckpoint(join(folder(), 'new')), 'ERR_IO');
      expect(text).toMatch(/ENOSPC.*12288/s);
    } finally {
      spy.mockRestore();
    }
    expect(names()).toEqual([]);
  });

  test('in the course of a training: it goes on, and tells', async () => {
    writeFileSync(join(folder(), 'file'), '');
    const directory = join(folder(), 'file', 'below');
    await using ddpm = new Ddpm(config);
    const errors: Error[] = [];
    const result = await ddpm.train(await images(), {
      ...options,
      steps: 6,
      checkpoint: { directory, every: 2, onError: (error) => errors.push(error) },
    });
    expect(errors.length).toBeGreaterThanOrEqual(1);
    expect(result).toMatchObject({ step: 6, checkpoint: undefined, failedCheckpoints: errors.length });
    expect(result.checkpointError).toBe(errors.at(-1));
    for (const error of errors)
      expect(error).toMatchObject({ code: 'ERR_IO', message: expect.stringContaining(directory) });

    const warnings = await warningsOf(async () => {
      await ddpm.train(await images(), { ...options, steps: 7, checkpoint: { directory } });
    });
    expect(warnings).toEqual([
      {
        code: 'DDPM_CHECKPOINT_FAILED',
        message: expect.stringContaining(`${directory}: no checkpoint could be saved: `),
      },
    ]);
  });
});

describe('in the course of a training', () => {
  test('at every so many steps and at the end', async () => {
    await using ddpm = new Ddpm(config);
    const saved: SavedCheckpoint[] = [];
    const result = await ddpm.train(await images(), {
      ...options,
      steps: 7,
      checkpoint: { directory: folder(), every: 3, keep: 2, onSave: (one) => saved.push(one) },
    });
    const steps = saved.map(({ step }) => step);
    expect(steps[0]).toBe(3);
    expect(steps.at(-1)).toBe(7);
    expect(result).toMatchObject({ checkpoint: join(folder(), 'step-000000007'), failedCheckpoints: 0 });
    expect(result.checkpointError).toBeUndefined();
    expect(names().at(-1)).toBe('step-000000007');
    expect(names().length).toBeLessThanOrEqual(2);
  });

  test('no second one of the last step, and none where there was nothing to do', async () => {
    await using ddpm = new Ddpm(config);
    const saved: number[] = [];
    const checkpoint = { directory: folder(), every: 4, onSave: ({ step }: SavedCheckpoint) => saved.push(step) };
    await ddpm.train(await images(), { ...options, steps: 4, checkpoint });
    expect(await ddpm.train(await images(), { ...options, steps: 4, checkpoint })).toMatchObject({
      checkpoint: undefined,
    });
    expect(saved).toEqual([4]);
  });

  test('training does not wait for the disk, and there is never a second copy', async () => {
    await using ddpm = new Ddpm(config);
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const real = fs.mkdir;
    // A disk that does not answer until ten steps are done.
    const spy = jest.spyOn(fs, 'mkdir').mockImplementation((async (...parameters: Parameters<typeof real>) => {
      await gate;
      return real(...parameters);
    }) as typeof real);
    const saved: number[] = [];
    try {
      await ddpm.train(await images(), {
        ...options,
        steps: 40,
        checkpoint: { directory: folder(), every: 2, onSave: ({ step }) => saved.push(step) },
        onProgress: ({ step }) => {
          if (step === 12) open();
        },
      });
    } finally {
      spy.mockRestore();
    }
    expect(saved[0]).toBe(2);
    // What fell due at 4, 6, … 12 was not made until the first was written.
    expect(saved[1]).toBeGreaterThanOrEqual(12);
    expect(saved.at(-1)).toBe(40);
  });

  test('changes nothing in the training', async () => {
    await using plain = new Ddpm(config);
    await using saving = new Ddpm(config);
    await plain.train(await images(), { ...options, steps: 12 });
    await saving.train(await images(), { ...options, steps: 12, checkpoint: { directory: folder(), every: 1 } });
    expect(await fingerprint(saving)).toBe(await fingerprint(plain));
  });

  test('a metric judges them, and the best one stays', async () => {
    await using ddpm = new Ddpm(config);
    const judged: { step: number; loss: number }[] = [];
    for (const steps of [2, 4, 6, 8]) {
      await ddpm.train(await images(), {
        ...options,
        steps,
        checkpoint: {
          directory: folder(),
          keep: 1,
          metric: async (at) => {
            judged.push(at);
            return Math.abs(at.step - 4);
          },
        },
      });
    }
    expect(judged.map(({ step }) => step)).toEqual([2, 4, 6, 8]);
    for (const { loss } of judged) expect(loss).toBeGreaterThan(0);
    expect(names()).toEqual(['step-000000004', 'step-000000008']);
    expect(manifestOf(join(folder(), 'step-000000004')).metric).toBe(0);
  });

  test('an abort ends the save under way, and leaves nothing behind', async () => {
    await using ddpm = new Ddpm(config);
    const stop = new AbortController();
    const training = ddpm.train(await images(), {
      ...options,
      steps: 1000,
      checkpoint: {
        directory: join(folder(), 'new'),
        every: 3,
        metric: () => {
          stop.abort();
          return 0;
        },
      },
      signal: stop.signal,
    });
    await expect(training).rejects.toMatchObject({ name: 'AbortError' });
    expect(existsSync(join(folder(), 'new'))).toBe(false);
    const { step } = await ddpm.saveCheckpoint(folder());
    expect(step).toBe(ddpm.step);
  });

  test('saveCheckpoint by hand meanwhile', async () => {
    await using ddpm = new Ddpm(config);
    const training = ddpm.train(await images(), { ...options, steps: 30 });
    const { path, step } = await ddpm.saveCheckpoint(folder());
    expect(step).toBeLessThan(30);
    await training;
    await using resumed = await Ddpm.resume(path);
    expect(resumed.step).toBe(step);
    await warningsOf(async () => resumed.train(await images(), { ...options, steps: 30 }));
    expect(await fingerprint(resumed)).toBe(await fingerprint(ddpm));
  });
});

test('calls at once on one folder: each checkpoint is whole', async () => {
  const models = [1, 2, 3].map((seed) => new Ddpm({ ...small, seed }));
  for (const [i, ddpm] of models.entries()) for (let n = 0; n < i; n++) await ddpm.trainStep(values);
  await Promise.all(models.map((ddpm) => ddpm.saveCheckpoint(folder())));
  expect(names()).toEqual(['step-000000000', 'step-000000001', 'step-000000002']);
  for (const [i, ddpm] of models.entries()) {
    await using resumed = await Ddpm.resume(join(folder(), `step-00000000${i}`));
    expect(await fingerprint(resumed)).toBe(await fingerprint(ddpm));
    await ddpm.dispose();
  }
});

test('after dispose() a checkpoint is refused, and one under way is finished', async () => {
  const ddpm = new Ddpm(small);
  const saving = ddpm.saveCheckpoint(folder());
  const ended = ddpm.dispose();
  expect((await saving).step).toBe(0);
  await ended;
  await failure(ddpm.saveCheckpoint(folder()), 'ERR_DISPOSED');
});
