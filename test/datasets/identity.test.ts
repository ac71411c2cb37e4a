/** What a cache of pixels takes for the same file, and which faults it keeps. */
import { cpSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import timers from 'node:timers/promises';
import { type Dataset, type ImageFolderOptions, imageFolder } from '../../lib/datasets';
import { decodePicture } from '../../lib/datasets/decode';
import { rawPng } from '../helpers/png';
import { put, rejection, useFolder } from './support';

jest.mock('../../lib/datasets/decode', () => {
  const actual = jest.requireActual('../../lib/datasets/decode');
  return { ...actual, decodePicture: jest.fn(actual.decodePicture) };
});
const decoding = jest.mocked(decodePicture);

const path = useFolder();
const OLD = 1_700_000_000;

/** A picture of one grey; all of them are files of one length. */
const picture = (level: number) => rawPng({ width: 2, values: [level, level, level, level], bits: 8, colours: 'grey' });

const read = (options: Partial<ImageFolderOptions> = {}) =>
  imageFolder(path('in'), { size: 2, channels: 1, cacheFile: path('pixels.cache'), ...options });

const greysOf = (dataset: Dataset) => Array.from({ length: dataset.count }, (_, i) => dataset.image(i).data[0]);

/** Puts a picture there, as one that is old. */
function putPicture(name: string, level: number): void {
  put(path('in', name), picture(level));
  utimesSync(path('in', name), OLD, OLD);
}

beforeEach(() => {
  for (const [i, name] of ['a.png', 'b.png', 'sub/c.png'].entries()) putPicture(name, 10 * (i + 1));
  decoding.mockClear();
});
afterEach(() => jest.restoreAllMocks());

/** Has some paths fail with an error of the system, as often as told. */
function failing(call: 'readFile' | 'opendir' | 'realpath', pattern: RegExp, code: string, times = Infinity) {
  const real = fs[call] as (path: string, ...rest: unknown[]) => Promise<unknown>;
  let left = times;
  const fake = async (file: string, ...rest: unknown[]) => {
    if (!pattern.test(String(file)) || left-- <= 0) return real(file, ...rest);
    throw Object.assign(new Error(`${code}: no luck, open '${file}'`), { code, syscall: 'open' });
  };
  return jest.spyOn(fs, call).mockImplementation(fake as never);
}

describe('another file', () => {
  test.each([
    ['written over', () => writeFileSync(path('in', 'b.png'), picture(99))],
    [
      'moved into its place',
      () => {
        put(path('other.png'), picture(99));
        utimesSync(path('other.png'), OLD, OLD);
        renameSync(path('other.png'), path('in', 'b.png'));
      },
    ],
  ])('%s, of the same size and time', async (_, replace) => {
    await read();
    replace();
    utimesSync(path('in', 'b.png'), OLD, OLD);
    expect(greysOf(await read())).toEqual([10, 99, 30]);
  });

  test('in another folder of the same names, sizes and times', async () => {
    cpSync(path('in'), path('out'), { recursive: true, preserveTimestamps: true });
    await read();
    for (const name of ['a.png', 'b.png', 'sub/c.png']) {
      writeFileSync(path('out', name), picture(77));
      utimesSync(path('out', name), OLD, OLD);
    }
    const options = { size: 2, channels: 1, cacheFile: path('pixels.cache') } as const;
    expect(greysOf(await imageFolder(path('out'), options))).toEqual([77, 77, 77]);
    renameSync(path('in'), path('away'));
    renameSync(path('out'), path('in'));
    expect(greysOf(await read())).toEqual([77, 77, 77]);
  });
});

describe('where times cannot tell', () => {
  /** Has every file look the same for ever, changed so many milliseconds ago. */
  function freeze(age: number, more: object = {}): void {
    const real = fs.stat as (path: string, options?: object) => Promise<object>;
    const ctimeNs = BigInt(Date.now() - age) * 1_000_000n;
    jest.spyOn(fs, 'stat').mockImplementation((async (file: string, options?: { bigint?: boolean }) => {
      const found = await real(file, options);
      return options?.bigint ? Object.assign(found, { ino: 7n, ctimeNs, mtimeNs: ctimeNs, ...more }) : found;
    }) as never);
  }

  const tellsByContents = async () => {
    await read();
    decoding.mockClear();
    expect(greysOf(await read())).toEqual([10, 20, 30]);
    expect(decoding).not.toHaveBeenCalled();
    writeFileSync(path('in', 'b.png'), picture(99));
    expect(greysOf(await read())).toEqual([10, 99, 30]);
  };

  test('since a file has just been changed', async () => {
    freeze(0);
    await tellsByContents();
  });

  test('since the clock of the files is ahead', async () => {
    freeze(-60_000);
    await tellsByContents();
  });

  test.each([{ ino: 0n }, { ctimeNs: 0n }])('since the system has no %p', async (more) => {
    freeze(60_000, more);
    await tellsByContents();
  });

  if (process.platform === 'linux') {
    test.each([0x4d44, 0x2011bab0, 0x65735546])('since the file system, %p, keeps no such time', async (type) => {
      const real = fs.statfs;
      const fake = async (folder: string) => Object.assign(await real(folder), { type });
      jest.spyOn(fs, 'statfs').mockImplementation(fake as never);
      freeze(60_000);
      await tellsByContents();
    });
  }

  test('an empty file is told from a picture too', async () => {
    freeze(0);
    put(path('in', 'b.png'), '');
    expect((await read({ onUnreadable: 'skip' })).count).toBe(2);
    putPicture('b.png', 20);
    expect(greysOf(await read({ onUnreadable: 'skip' }))).toEqual([10, 20, 30]);
  });

  test('and where they can, no file is opened', async () => {
    freeze(60_000);
    await read();
    const reading = jest.spyOn(fs, 'readFile');
    expect(greysOf(await read())).toEqual([10, 20, 30]);
    expect(reading).not.toHaveBeenCalled();
  });
});

describe('a fault of the machine is not kept', () => {
  test.each(['EACCES', 'EIO', 'ESTALE', 'ENOENT'])('%s', async (code) => {
    const spy = failing('readFile', /b\.png$/, code);
    const limited = await read({ onUnreadable: 'skip' });
    expect(limited.skipped).toEqual([{ file: 'b.png', reason: 'no luck' }]);
    expect(greysOf(limited)).toEqual([10, 30]);
    spy.mockRestore();
    const whole = await read({ onUnreadable: 'skip' });
    expect(whole.skipped).toEqual([]);
    expect(greysOf(whole)).toEqual([10, 20, 30]);
  });

  test('while it lasts the cache serves, and names the reason of today', async () => {
    failing('readFile', /b\.png$/, 'EACCES');
    await read({ onUnreadable: 'skip' });
    jest.restoreAllMocks();
    failing('readFile', /b\.png$/, 'EIO');
    decoding.mockClear();
    const again = await read({ onUnreadable: 'skip' });
    expect(decoding).not.toHaveBeenCalled();
    expect(greysOf(again)).toEqual([10, 30]);
    expect((await rejection(read())).message).toMatch(/\n {2}b\.png: no luck$/);
  });

  test('want of memory', async () => {
    decoding.mockRejectedValueOnce(new Error('vips_tracked: out of memory --- size == 9MB'));
    expect((await read({ onUnreadable: 'skip', concurrency: 1 })).sources).toEqual(['b.png', 'sub/c.png']);
    expect(greysOf(await read({ onUnreadable: 'skip' }))).toEqual([10, 20, 30]);
  });

  test('one of the content is', async () => {
    put(path('in', 'b.png'), 'no picture');
    await read({ onUnreadable: 'skip' });
    decoding.mockClear();
    expect((await read({ onUnreadable: 'skip' })).skipped).toHaveLength(1);
    expect(decoding).not.toHaveBeenCalled();
  });
});

describe('too many open files', () => {
  test.each([
    ['readFile', 'EMFILE', /\.png$/],
    ['readFile', 'ENFILE', /\.png$/],
    ['opendir', 'EMFILE', /sub$/],
  ] as const)('%s: %s is waited for', async (call, code, pattern) => {
    failing(call, pattern, code, 5);
    const { skipped, sources } = await read({ onUnreadable: 'skip' });
    expect(skipped).toEqual([]);
    expect(sources).toEqual(['a.png', 'b.png', 'sub/c.png']);
  });

  test('that does not pass is an error of the call, and no file is left', async () => {
    jest.spyOn(timers, 'setTimeout').mockResolvedValue(undefined);
    failing('readFile', /b\.png$/, 'EMFILE');
    const error = await rejection(read({ onUnreadable: 'skip' }));
    expect(error.code).toBe('ERR_IO');
    expect(error.message).toMatch(/^Too many files are open, for ten seconds already: EMFILE: /);
    expect(statSync(path('pixels.cache'), { throwIfNoEntry: false })).toBeUndefined();
  });

  test('an abort ends the wait', async () => {
    failing('readFile', /b\.png$/, 'EMFILE');
    const signal = AbortSignal.timeout(50);
    expect((await rejection(read({ signal }))).name).toBe('AbortError');
  });
});

test('a cache from before is made anew', async () => {
  await read();
  const text = readFileSync(path('pixels.cache'), 'latin1');
  writeFileSync(path('pixels.cache'), text.replace('"version":2', '"version":1'), 'latin1');
  rmSync(path('in', 'a.png'));
  expect(greysOf(await read())).toEqual([20, 30]);
});
