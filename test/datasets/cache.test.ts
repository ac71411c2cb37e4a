/** The file of decoded pixels: made, used again, made anew, and never something else's. */
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type Dataset, type ImageFolderOptions, imageFolder } from '../../lib/datasets';
import { decodePicture } from '../../lib/datasets/decode';
import { bytesOf, png, put, rejection, useFolder } from './support';

const path = useFolder();
const size = 4;
const cacheFile = () => path('cache', 'pixels.cache');

const picture = (seed: number) => png(bytesOf(size * size * 3, seed), size, 3);

const read = (options: Partial<ImageFolderOptions> = {}) =>
  imageFolder(path('in'), { size, cacheFile: cacheFile(), ...options });

const levelsOf = (dataset: Dataset) => Array.from({ length: dataset.count }, (_, i) => [...dataset.image(i).data]);

jest.mock('../../lib/datasets/decode', () => {
  const actual = jest.requireActual('../../lib/datasets/decode');
  return { ...actual, decodePicture: jest.fn(actual.decodePicture) };
});

/** How many pictures are decoded while the work runs. */
async function decodedIn(work: () => Promise<unknown>): Promise<number> {
  const decoding = jest.mocked(decodePicture);
  const before = decoding.mock.calls.length;
  await work();
  return decoding.mock.calls.length - before;
}

beforeEach(async () => {
  for (const [seed, name] of ['a.png', 'sub/b.png', 'c.png'].entries()) {
    put(path('in', name), await picture(seed));
    // A whole number of seconds, which every file system keeps as it is.
    utimesSync(path('in', name), 1_700_000_000, 1_700_000_000);
  }
});

test('mapped pixels are those in memory', async () => {
  const mapped = await read();
  const inMemory = await imageFolder(path('in'), { size });
  expect(levelsOf(mapped)).toEqual(levelsOf(inMemory));
  expect(mapped.sources).toEqual(inMemory.sources);
  expect(await readdir(path('cache'))).toEqual(['pixels.cache']);
});

test('more pixels than are written at once', async () => {
  for (let i = 0; i < 40; i++) put(path('many', `${10 + i}.png`), await png(bytesOf(128 * 128 * 3, i), 128, 3));
  const dataset = await imageFolder(path('many'), { size: 128, cacheFile: cacheFile() });
  for (const i of [0, 1, 20, 21, 22, 39])
    expect(Buffer.compare(dataset.image(i).data, bytesOf(128 * 128 * 3, i))).toBe(0);
  expect(statSync(cacheFile()).size).toBeGreaterThan(40 * 128 * 128 * 3);
});

test('the next call decodes nothing', async () => {
  const first = await read();
  const time = statSync(cacheFile()).mtimeMs;
  const progress: unknown[] = [];
  const decoded = await decodedIn(async () => {
    const second = await read({ onProgress: (now) => progress.push(now) });
    expect(levelsOf(second)).toEqual(levelsOf(first));
    expect(second.sources).toEqual(first.sources);
  });
  expect(decoded).toBe(0);
  expect(progress).toEqual([{ done: 3, total: 3 }]);
  expect(statSync(cacheFile()).mtimeMs).toBe(time);
});

test('the labels of the next call are those of its own options', async () => {
  rmSync(path('in', 'a.png'));
  rmSync(path('in', 'c.png'));
  expect((await read()).labels).toBeUndefined();
  const dataset = await read({ classes: true });
  expect(dataset.classNames).toEqual(['sub']);
  expect([...(dataset.labels as Int32Array)]).toEqual([0]);
});

describe('is made anew', () => {
  test('when a file has changed', async () => {
    await read();
    put(path('in', 'c.png'), await picture(9));
    expect(levelsOf(await read())[1]).toEqual([...bytesOf(size * size * 3, 9)]);
  });

  test('when only the time of a file has changed', async () => {
    await read();
    utimesSync(path('in', 'c.png'), 1_700_000_001, 1_700_000_001);
    expect(await decodedIn(read)).toBe(3);
  });

  test('when a file has come, gone or another name', async () => {
    await read();
    put(path('in', 'd.png'), await picture(9));
    expect((await read()).count).toBe(4);
    rmSync(path('in', 'a.png'));
    expect((await read()).sources).toEqual(['c.png', 'd.png', 'sub/b.png']);
    renameSync(path('in', 'd.png'), path('in', 'z.png'));
    const dataset = await read();
    expect(dataset.sources).toEqual(['c.png', 'sub/b.png', 'z.png']);
    expect(levelsOf(dataset)[2]).toEqual([...bytesOf(size * size * 3, 9)]);
  });

  test.each<Partial<ImageFolderOptions>>([{ size: 8 }, { channels: 1 }, { fit: 'fill' }, { background: '#000000' }])(
    'with other options: %j',
    async (options) => {
      await read();
      expect(await decodedIn(() => read(options))).toBe(3);
    },
  );

  test('when it was cut short', async () => {
    const first = await read();
    const bytes = readFileSync(cacheFile());
    writeFileSync(cacheFile(), bytes.subarray(0, bytes.length - 1));
    expect(levelsOf(await read())).toEqual(levelsOf(first));
    expect(statSync(cacheFile()).size).toBe(bytes.length);
  });

  test('when another version of the format wrote it', async () => {
    const first = await read();
    const text = readFileSync(cacheFile(), 'latin1');
    expect(text).toContain('"version":2,');
    writeFileSync(cacheFile(), text.replace('"version":2,', '"version":0,'), 'latin1');
    expect(levelsOf(await read())).toEqual(levelsOf(first));
    expect(readFileSync(cacheFile(), 'latin1')).toBe(text);
  });
});

test('a data set keeps its pixels when its cache is made anew', async () => {
  const first = await read();
  const before = levelsOf(first);
  put(path('in', 'a.png'), await picture(9));
  const second = await read();
  expect(levelsOf(second)[0]).not.toEqual(before[0]);
  expect(levelsOf(first)).toEqual(before);
});

test('files that were skipped are remembered', async () => {
  put(path('in', 'b.png'), '');
  const first = await read({ onUnreadable: 'skip' });
  const second = await read({ onUnreadable: 'skip' });
  expect(await decodedIn(() => read({ onUnreadable: 'skip' }))).toBe(0);
  expect(second.skipped).toEqual([{ file: 'b.png', reason: 'the file is empty' }]);
  expect(second.sources).toEqual(['a.png', 'c.png', 'sub/b.png']);
  expect(levelsOf(second)).toEqual(levelsOf(first));
  const error = await rejection(read());
  expect(error.message).toMatch(/^1 of the 4 images in .*:\n {2}b\.png: the file is empty$/);
});

test('a failure leaves no file behind, and the old one as it was', async () => {
  await read();
  const before = readFileSync(cacheFile());
  put(path('in', 'd.png'), '');
  expect((await rejection(read())).code).toBe('ERR_DATASET');
  expect(await readdir(path('cache'))).toEqual(['pixels.cache']);
  expect(readFileSync(cacheFile()).equals(before)).toBe(true);
});

describe('a file that is no cache is left as it is', () => {
  test.each([
    ['empty', ''],
    ['text', 'my notes\n'],
    ['JSON', '{"format":"another"}'],
  ])('%s', async (_, text) => {
    put(cacheFile(), text);
    const error = await rejection(read());
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`cacheFile: '${cacheFile()}' is not a cache of this package, and is left as it is`);
    expect(readFileSync(cacheFile(), 'utf8')).toBe(text);
  });
});

test('a place that cannot be written to', async () => {
  const error = await rejection(read({ cacheFile: path('in', 'a.png', 'pixels.cache') }));
  expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_IO' });
});
