import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { publishFolder, removeFolder, removeLeftovers } from '../../lib/files/publish';
import { failure, temporaryFolder, treeOf } from '../helpers/folder';

const folder = temporaryFolder();
const fill = (text: string) => async (path: string) => writeFileSync(join(path, 'file'), text);

test('makes the folder, with those above it', async () => {
  await publishFolder(join(folder(), 'a', 'b'), 'new', fill('x'));
  expect(treeOf(folder())).toEqual({ 'a/b/new/file': 'x' });
});

test('has no name before it is complete', async () => {
  await publishFolder(folder(), 'new', async (path) => {
    expect(readdirSync(folder())).toEqual([expect.stringMatching(/^\.ddpm-new-[0-9a-f]{12}$/)]);
    await fill('x')(path);
  });
  expect(readdirSync(folder())).toEqual(['new']);
});

// Windows has no way to flush a folder.
if (process.platform !== 'win32') {
  test('flushes the names of the folders that it makes', async () => {
    const open = jest.spyOn(fs, 'open');
    await publishFolder(join(folder(), 'a', 'b'), 'new', fill('x'));
    const opened = open.mock.calls.map(([path]) => path);
    open.mockRestore();
    expect(opened).toEqual(expect.arrayContaining([folder(), join(folder(), 'a'), join(folder(), 'a', 'b')]));
  });
}

describe.each([
  ['mkdir', 2],
  ['open', 4],
  ['rename', 1],
] as const)('%s fails', (call, times) => {
  test.each(Array.from({ length: times }, (_, i) => i + 1))('at call %i', async (n) => {
    const real = fs[call] as (...parameters: unknown[]) => Promise<never>;
    let calls = 0;
    const spy = jest.spyOn(fs, call).mockImplementation((...parameters: unknown[]): Promise<never> => {
      if (++calls !== n) return real.apply(fs, parameters);
      return Promise.reject(Object.assign(new Error(`EIO: i/o error, ${call}`), { code: 'EIO', syscall: call }));
    });
    const place = join(folder(), 'deep', 'parent');
    try {
      const text = await failure(publishFolder(place, 'new', fill('x')), 'ERR_IO');
      expect(text).toBe(`${join(place, 'new')}: could not be written: EIO: i/o error, ${call}`);
    } finally {
      spy.mockRestore();
    }
    // The last thing opened is the parent, to be flushed: the folder has its name by then.
    const named = call === 'open' && n === times;
    expect(treeOf(folder())).toEqual(named ? { 'deep/parent/new/file': 'x' } : {});
  });
});

test('what fill() throws comes back as it is', async () => {
  const error = new Error('thrown on purpose');
  await expect(publishFolder(join(folder(), 'parent'), 'new', () => Promise.reject(error))).rejects.toBe(error);
  expect(readdirSync(folder())).toEqual([]);
});

test('removes a folder by way of a hidden name', async () => {
  await publishFolder(folder(), 'old', fill('x'));
  const spy = jest.spyOn(fs, 'rm').mockRejectedValue(new Error('EBUSY'));
  await removeFolder(folder(), 'old').catch(() => {});
  spy.mockRestore();
  expect(readdirSync(folder())).toEqual([expect.stringMatching(/^\.ddpm-old-[0-9a-f]{12}$/)]);
  await removeLeftovers(folder());
  expect(readdirSync(folder())).toEqual([]);
});

test('clears away leftovers and nothing else', async () => {
  const own = ['.ddpm-new-0123456789ab', '.ddpm-old-ba9876543210'];
  const others = ['.ddpm-new-0123', '.ddpm-save-0123456789ab', 'ddpm-new-0123456789ab', 'step-000000001'];
  for (const name of [...own, ...others]) mkdirSync(join(folder(), name, 'below'), { recursive: true });
  await removeLeftovers(folder());
  expect(readdirSync(folder()).sort()).toEqual([...others].sort());
  await removeLeftovers(join(folder(), 'missing'));
});
