import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { type FileToWrite, interruptedWrites, replaceFiles, writeFileAtomic } from '../../lib/files/atomic';
import { failure, temporaryFolder, treeOf } from '../helpers/folder';

const folder = temporaryFolder();

/** A set of files whose contents all say which set they are of; `index` is the entry. */
function filesOf(set: string, paths = ['part/data', 'part/notes', 'extra', 'index']): FileToWrite[] {
  return paths.map((path) => ({
    path,
    write: (to) => writeFileAtomic(to, (file) => file.writeFile(`${set}: ${path}`)),
  }));
}

/** A folder with a whole old set (`extra` is not part of it), a stale file of it, and a file of the user's. */
function oldFolder(): string {
  const path = join(folder(), 'model');
  mkdirSync(join(path, 'part'), { recursive: true });
  for (const file of ['part/data', 'part/notes', 'part/stale', 'index'])
    writeFileSync(join(path, file), `old: ${file}`);
  writeFileSync(join(path, 'part', 'readme'), 'mine');
  return path;
}

const stale = async () => ['part/stale', 'part/none'];
const oldTree = {
  index: 'old: index',
  'part/data': 'old: part/data',
  'part/notes': 'old: part/notes',
  'part/stale': 'old: part/stale',
  'part/readme': 'mine',
};
const newTree = {
  index: 'new: index',
  extra: 'new: extra',
  'part/data': 'new: part/data',
  'part/notes': 'new: part/notes',
  'part/readme': 'mine',
};

/** Makes call number `n` of a function of the file system fail; returns how many calls there were. */
async function failing(call: 'rename' | 'mkdir' | 'open', n: number, work: () => Promise<unknown>): Promise<number> {
  let calls = 0;
  const real = fs[call] as (...parameters: unknown[]) => Promise<never>;
  const spy = jest.spyOn(fs, call).mockImplementation((...parameters: unknown[]): Promise<never> => {
    if (++calls !== n) return real.apply(fs, parameters);
    return Promise.reject(Object.assign(new Error(`EIO: i/o error, ${call}`), { code: 'EIO', syscall: call }));
  });
  try {
    await work();
  } finally {
    spy.mockRestore();
  }
  return calls;
}

describe('replaceFiles', () => {
  test('makes the folder, with those above it', async () => {
    const path = join(folder(), 'a', 'b');
    await replaceFiles(path, filesOf('new'));
    const { 'part/readme': _, ...tree } = newTree;
    expect(treeOf(path)).toEqual(tree);
  });

  // Windows has no way to flush a folder.
  if (process.platform !== 'win32') {
    test('flushes the names of the folders that it makes', async () => {
      const open = jest.spyOn(fs, 'open');
      await replaceFiles(join(folder(), 'a', 'b'), filesOf('new'));
      const opened = open.mock.calls.map(([path]) => path);
      open.mockRestore();
      expect(opened).toEqual(expect.arrayContaining([folder(), join(folder(), 'a'), join(folder(), 'a', 'b')]));
    });
  }

  test('replaces the old set and leaves the other files', async () => {
    const path = oldFolder();
    await replaceFiles(path, filesOf('new'), { stale });
    expect(treeOf(path)).toEqual(newTree);
  });

  test('writes into a folder behind a link, and keeps the link', async () => {
    const path = oldFolder();
    const link = join(folder(), 'link');
    symlinkSync(path, link);
    await replaceFiles(link, filesOf('new'), { stale });
    expect(treeOf(path)).toEqual(newTree);
    expect(readdirSync(folder()).sort()).toEqual(['link', 'model']);
  });

  test('an error while the files are written changes nothing', async () => {
    const path = oldFolder();
    const files = filesOf('new');
    files[2] = {
      path: 'extra',
      write: async () => {
        throw new Error('no more');
      },
    };
    await expect(replaceFiles(path, files, { stale })).rejects.toThrow('no more');
    expect(treeOf(path)).toEqual(oldTree);
    await expect(replaceFiles(join(folder(), 'a', 'b'), files)).rejects.toThrow('no more');
    expect(readdirSync(folder())).toEqual(['model']);
  });

  test.each(['rename', 'mkdir', 'open'] as const)('an error of any %s changes nothing, and says why', async (call) => {
    const path = oldFolder();
    const whole = join(folder(), 'whole');
    cpSync(path, whole, { recursive: true });
    const calls = await failing(call, 0, () => replaceFiles(whole, filesOf('new'), { stale }));
    expect(calls).toBeGreaterThanOrEqual(5);
    // The last call of open flushes what is already in place.
    for (let n = 1; n <= (call === 'open' ? calls - 1 : calls); n++) {
      const work = async () =>
        expect(await failure(replaceFiles(path, filesOf('new'), { stale }), 'ERR_IO')).toMatch(/EIO/);
      await failing(call, n, work);
      expect(treeOf(path)).toEqual(oldTree);
    }
    await replaceFiles(path, filesOf('new'), { stale });
    expect(treeOf(path)).toEqual(newTree);
  });

  test('killed anywhere: the set is whole or has no entry, and the next call puts the old one back', async () => {
    // What a kill before a rename leaves is what the folder holds at that moment.
    const path = oldFolder();
    const killed: string[] = [];
    const real = fs.rename;
    const spy = jest.spyOn(fs, 'rename').mockImplementation(async (from, to) => {
      const copy = join(folder(), `killed-${killed.length}`);
      cpSync(path, copy, { recursive: true });
      killed.push(copy);
      await real(from, to);
    });
    await replaceFiles(path, filesOf('new'), { stale });
    spy.mockRestore();
    expect(killed.length).toBeGreaterThan(10);

    let withoutEntry = 0;
    for (const copy of killed) {
      const visible = Object.fromEntries(Object.entries(treeOf(copy)).filter(([name]) => !name.startsWith('.')));
      if (existsSync(join(copy, 'index'))) expect([oldTree, newTree]).toContainEqual(visible);
      else withoutEntry++;
      expect(await interruptedWrites(copy)).toHaveLength(1);

      const again = `${copy}-again`;
      cpSync(copy, again, { recursive: true });
      await replaceFiles(again, filesOf('new'), { stale });
      expect(treeOf(again)).toEqual(newTree);

      // A call that writes fewer files puts back those of the one that was killed.
      const fewer = `${copy}-fewer`;
      cpSync(copy, fewer, { recursive: true });
      await expect(replaceFiles(fewer, [{ path: 'index', write: stop }])).rejects.toThrow('stop');
      expect([oldTree, newTree]).toContainEqual(treeOf(fewer));

      // Putting the old set back can itself be killed: cut it short at each of its renames, one after the other.
      for (let n = 1; n <= 3; n++) {
        await failing('rename', n, () => failure(replaceFiles(copy, filesOf('newer'), { stale }), 'ERR_IO'));
      }
      await failing('mkdir', 1, () => replaceFiles(copy, [{ path: 'index', write: stop }], { stale }).catch(() => {}));
      await expect(
        replaceFiles(copy, [...filesOf('newer').slice(0, 3), { path: 'index', write: stop }]),
      ).rejects.toThrow('stop');
      expect(treeOf(copy)).toEqual(oldTree);
    }
    expect(withoutEntry).toBeGreaterThan(3);
  });

  test('an error that cannot be undone leaves the old files in the hidden folder, for the next call to put back', async () => {
    const path = oldFolder();
    const real = fs.rename;
    let moved = 0;
    // From the third file that leaves on, nothing can be moved any more.
    const spy = jest.spyOn(fs, 'rename').mockImplementation(async (from, to) => {
      const leaves = String(to).includes('/old/');
      if (leaves) moved++;
      if (moved > 2) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO', syscall: 'rename' });
      await real(from, to);
    });
    const text = await failure(replaceFiles(path, filesOf('new'), { stale }), 'ERR_IO');
    spy.mockRestore();
    expect(text).toMatch(/could not be written nor put back as it was; the old files are in .*old: EIO/);
    expect(existsSync(join(path, 'index'))).toBe(false);
    await expect(replaceFiles(path, [...filesOf('new').slice(0, 3), { path: 'index', write: stop }])).rejects.toThrow(
      'stop',
    );
    expect(treeOf(path)).toEqual(oldTree);
  });

  test('a relative path is meant from where the process was at the call', async () => {
    const before = process.cwd();
    mkdirSync(join(folder(), 'a'));
    try {
      process.chdir(join(folder(), 'a'));
      const done = replaceFiles('model', filesOf('new'));
      process.chdir(before);
      await done;
    } finally {
      process.chdir(before);
    }
    expect(readFileSync(join(folder(), 'a', 'model', 'index'), 'utf8')).toBe('new: index');
  });

  test('calls on one folder wait for each other', async () => {
    const path = join(folder(), 'model');
    const sets = ['one', 'two', 'three'];
    const results = await Promise.allSettled(sets.map((set) => replaceFiles(path, filesOf(set))));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    expect(new Set(Object.values(treeOf(path)).map((text) => text?.split(':')[0]))).toEqual(new Set(['three']));
  });

  test('a failed call does not stop the next one', async () => {
    const path = join(folder(), 'model');
    const bad = replaceFiles(path, [{ path: 'index', write: stop }]);
    const good = replaceFiles(path, filesOf('new'));
    await expect(bad).rejects.toThrow('stop');
    await good;
    expect(readFileSync(join(path, 'index'), 'utf8')).toBe('new: index');
  });

  test('an abort before or during the writing changes nothing', async () => {
    const path = oldFolder();
    const controller = new AbortController();
    const files = filesOf('new');
    const { write } = files[3];
    files[3] = {
      path: 'index',
      write: async (to) => {
        await write(to);
        controller.abort();
      },
    };
    await expect(replaceFiles(path, files, { stale, signal: controller.signal })).rejects.toThrow('aborted');
    await expect(replaceFiles(path, filesOf('new'), { stale, signal: controller.signal })).rejects.toThrow('aborted');
    expect(treeOf(path)).toEqual(oldTree);
  });

  test('a file where the folder should be', async () => {
    const path = join(folder(), 'model');
    writeFileSync(path, 'mine');
    expect(await failure(replaceFiles(path, filesOf('new')), 'ERR_IO')).toContain(
      `${path}: could not be written: EEXIST`,
    );
    expect(await failure(replaceFiles(join(path, 'x'), filesOf('new')), 'ERR_IO')).toMatch(/ENOTDIR/);
    expect(treeOf(folder())).toEqual({ model: 'mine' });
  });
});

const stop = async () => {
  throw new Error('stop');
};
