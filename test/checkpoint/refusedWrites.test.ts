/** Saving where the file system refuses: the error says why, the old model stays whole, and the next save works. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import fs, { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Ddpm } from '../../lib';
import {
  inForbiddenFolder,
  mayMount,
  onReadOnlyFileSystem,
  onSmallFileSystem,
  withFileLimit,
} from '../helpers/fileSystems';
import { failure, temporaryFolder, treeOf } from '../helpers/folder';
import { randomImages } from '../model/datasets';
import { sameParameters, small, valuesOf } from '../model/models';

const folder = temporaryFolder();

/** The old model, and the one that is to replace it. */
let old: Ddpm;
let trained: Ddpm;
/** Bytes of one of them in its file. */
let size: number;
beforeAll(async () => {
  old = new Ddpm(small);
  trained = new Ddpm(small);
  await trained.train(await randomImages(2), { steps: 2, batchSize: 2 });
  size = 4 * old.parameterCount;
});
afterAll(async () => {
  await old.dispose();
  await trained.dispose();
});

/** Makes a folder of the test's own. */
function made(name: string): string {
  const path = join(folder(), name);
  mkdirSync(path);
  return path;
}

/** Bytes that are free on the file system of a folder. */
function freeOn(path: string): number {
  const { bfree, bsize } = statfsSync(path);
  return bfree * bsize;
}

async function expectSaved(path: string, model: Ddpm): Promise<void> {
  await using again = await Ddpm.load(path);
  expect(sameParameters(await valuesOf(again, 'ema'), await valuesOf(model, 'ema'))).toBe(true);
}

/** Saves where it must be refused with `reason`: the folder is then as before, to the byte. */
async function expectRefused(path: string, reason: RegExp): Promise<void> {
  const before = treeOf(folder());
  const message = await failure(trained.save(path), 'ERR_IO');
  expect(message).toMatch(reason);
  expect(message).toMatch(new RegExp(`^${path}(/unet/\\S+)?: could not be written: E`));
  expect(treeOf(folder())).toEqual(before);
}

if (mayMount) {
  test('on a full file system, over a model and beside it; then with room', async () => {
    const disk = made('disk');
    // Room for a model and a half; the other files take some pages.
    await onSmallFileSystem(disk, 1.5 * size + 64 * 1024, async () => {
      const path = join(disk, 'model');
      await old.save(path);
      const reason = new RegExp(`ENOSPC: ${size} bytes are needed, \\d+ are free$`);
      await expectRefused(path, reason);
      await expectRefused(join(disk, 'other', 'model'), reason);
      await expectSaved(path, old);

      rmSync(path, { recursive: true });
      await trained.save(path);
      await expectSaved(path, trained);
    });
  });

  test('a checkpoint on a full file system, and on a read-only one', async () => {
    const disk = made('disk');
    await onSmallFileSystem(disk, 12 * 1024 * 1024, async () => {
      const first = await trained.saveCheckpoint(disk);
      const ballast = join(disk, 'ballast');
      writeFileSync(ballast, new Uint8Array(8 * 1024 * 1024));
      const before = treeOf(disk);
      const full = await failure(trained.saveCheckpoint(disk), 'ERR_IO');
      expect(full).toMatch(new RegExp(`^${disk}: could not be written: ENOSPC: \\d+ bytes are needed, \\d+ are free$`));
      // As with a disk that fills up in the middle.
      const statfs = jest.spyOn(fs, 'statfs').mockResolvedValue({ blocks: 0 } as never);
      writeFileSync(join(disk, 'more'), new Uint8Array(freeOn(disk) - size));
      expect(await failure(trained.saveCheckpoint(disk), 'ERR_IO')).toMatch(/ENOSPC: no space left on device, write/);
      statfs.mockRestore();
      rmSync(join(disk, 'more'));
      expect(treeOf(disk)).toEqual(before);
      await (await Ddpm.resume(disk)).dispose();

      rmSync(ballast);
      const second = await trained.saveCheckpoint(disk);
      expect(second.path).not.toBe(first.path);
      expect(await readdir(disk)).toEqual([basename(second.path)]);
      await onReadOnlyFileSystem(disk, async () => {
        expect(await failure(trained.saveCheckpoint(disk), 'ERR_IO')).toMatch(/EROFS: read-only file system/);
        await (await Ddpm.resume(disk)).dispose();
      });
    });
  });

  test('on a file system that does not tell that it is full', async () => {
    const statfs = jest.spyOn(fs, 'statfs');
    const disk = made('disk');
    await onSmallFileSystem(disk, 1.5 * size + 64 * 1024, async () => {
      const path = join(disk, 'model');
      await old.save(path);
      statfs.mockResolvedValue({ blocks: 0 } as never);
      await expectRefused(path, /ENOSPC: no space left on device, write/);
      await expectRefused(join(disk, 'other', 'model'), /ENOSPC/);
      statfs.mockRejectedValue(Object.assign(new Error('ENOSYS'), { code: 'ENOSYS', syscall: 'statfs' }));
      await expectRefused(path, /ENOSPC: no space left on device, write/);
      await expectSaved(path, old);
    });
    statfs.mockRestore();
  });

  test('what a killed save has left is cleared away before the room is asked for', async () => {
    const disk = made('disk');
    await onSmallFileSystem(disk, 2.5 * size + 64 * 1024, async () => {
      const path = join(disk, 'model');
      await old.save(path);
      const left = join(path, '.ddpm-save-0123456789ab', 'new', 'unet');
      mkdirSync(left, { recursive: true });
      writeFileSync(join(left, 'diffusion_pytorch_model.safetensors'), new Uint8Array(size));
      await trained.save(path);
      await expectSaved(path, trained);
    });
  });

  test('on a read-only file system', async () => {
    const path = made('model');
    await old.save(path);
    await onReadOnlyFileSystem(path, async () => {
      await expectRefused(path, /EROFS: read-only file system/);
      await expectRefused(join(path, 'below'), /EROFS: read-only file system/);
      await expectSaved(path, old);
    });
    await trained.save(path);
    await expectSaved(path, trained);
  });
}

test('into a folder of another user', async () => {
  const path = made('model');
  await old.save(path);
  await inForbiddenFolder(path, async () => {
    await expectRefused(path, /EACCES: permission denied/);
    await expectRefused(join(path, 'below'), /EACCES: permission denied/);
  });
  await expectSaved(path, old);
  await trained.save(path);
  await expectSaved(path, trained);
});

test('where a file may not become that long', async () => {
  const path = join(folder(), 'model');
  await old.save(path);
  const before = treeOf(path);
  const program = join(__dirname, 'programs', 'saveOver.cjs');
  const [command, ...args] = [...withFileLimit(size / 2), process.execPath, program, path];
  expect(JSON.parse(execFileSync(command, args, { encoding: 'utf8' }))).toEqual({
    code: 'ERR_IO',
    message: `${join(path, 'unet', 'diffusion_pytorch_model.safetensors')}: could not be written: EFBIG: file too large, write`,
  });
  expect(treeOf(path)).toEqual(before);
  expect(JSON.parse(execFileSync(process.execPath, [program, path], { encoding: 'utf8' }))).toEqual({
    message: 'it was saved',
  });
  expect(treeOf(path)).not.toEqual(before);
  expect(existsSync(join(path, 'model_index.json'))).toBe(true);
});
