/** Which files of a folder become images, in which order, and what is said of the others. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import fs, { readdir } from 'node:fs/promises';
import { type ImageFolderOptions, type ImageFolderProgress, imageFolder } from '../../lib/datasets';
import { bytesOf, flat, png, put, rejection, useFolder } from './support';

const path = useFolder();
const size = 4;

/** A picture that differs from those of other seeds. */
const picture = (seed: number) => png(bytesOf(size * size * 3, seed), size, 3);

async function putPictures(...names: string[]): Promise<void> {
  for (const [seed, name] of names.entries()) put(path(name), await picture(seed));
}

const sourcesOf = async (options: Partial<ImageFolderOptions> = {}) =>
  (await imageFolder(path(), { size, ...options })).sources;

describe('which files', () => {
  test('suffixes in any case', async () => {
    await putPictures('a.PNG', 'b.Png', 'c.png');
    put(path('d.JPEG'), await flat('#fff').jpeg().toBuffer());
    put(path('e.SVG'), '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>');
    expect(await sourcesOf()).toEqual(['a.PNG', 'b.Png', 'c.png', 'd.JPEG', 'e.SVG']);
  });

  test('hidden files and files of other kinds are passed over', async () => {
    await putPictures('a.png', '.hidden.png', '._a.png', '.thumbnails/b.png', 'sub/.c.png', 'sub/d.png');
    for (const name of ['Thumbs.db', 'desktop.ini', 'notes.txt', 'png', 'a.png.txt', 'sub/data.json'])
      put(path(name), 'x');
    expect(await sourcesOf()).toEqual(['a.png', 'sub/d.png']);
  });

  test('they are in the order of their paths by code units', async () => {
    await putPictures('b.png', 'a/z.png', 'B.png', 'é.png', 'a-b.png', 'a10.png', 'a2.png', 'z.png');
    const dataset = await imageFolder(path(), { size });
    expect(dataset.sources).toEqual(['B.png', 'a-b.png', 'a/z.png', 'a10.png', 'a2.png', 'b.png', 'z.png', 'é.png']);
    // Seeds are in the order in which the files were made.
    const seeds = [2, 4, 1, 5, 6, 0, 7, 3];
    for (const [i, seed] of seeds.entries()) {
      expect([...dataset.image(i).data]).toEqual([...bytesOf(size * size * 3, seed)]);
    }
  });

  test('sub-folders are left out where asked', async () => {
    await putPictures('a.png', 'sub/b.png');
    expect(await sourcesOf({ recursive: false })).toEqual(['a.png']);
  });

  test('a filter sees paths within the folder', async () => {
    await putPictures('a.png', 'sub/b.png', 'sub/deeper/c.png');
    expect(await sourcesOf({ filter: (file) => file.startsWith('sub/') })).toEqual(['sub/b.png', 'sub/deeper/c.png']);
  });

  test('a folder that is called like a picture is a folder', async () => {
    await putPictures('album.png/a.png');
    expect(await sourcesOf()).toEqual(['album.png/a.png']);
  });
});

describe('links', () => {
  test('loops end, and each folder is read once under its own name', async () => {
    await putPictures('a/1.png', 'b/2.png');
    symlinkSync('..', path('a/up'));
    symlinkSync('../b', path('a/across'));
    symlinkSync('../a', path('b/back'));
    symlinkSync('.', path('self'));
    symlinkSync('endless', path('endless'));
    expect(await sourcesOf()).toEqual(['a/1.png', 'b/2.png']);
  });

  test('to folders and files elsewhere are followed', async () => {
    await putPictures('elsewhere/x.png', 'elsewhere/sub/y.png', 'root/a.png');
    symlinkSync('../elsewhere', path('root/linked'));
    symlinkSync('../elsewhere/x.png', path('root/b.png'));
    const dataset = await imageFolder(path('root'), { size });
    expect(dataset.sources).toEqual(['a.png', 'b.png', 'linked/sub/y.png', 'linked/x.png']);
    expect(dataset.image(1).data).toEqual(dataset.image(3).data);
  });

  test('that lead nowhere are unreadable pictures', async () => {
    symlinkSync('gone.png', path('a.png'));
    expect((await rejection(sourcesOf())).message).toMatch(/ {2}a\.png: no such file or directory$/);
  });
});

describe('classes', () => {
  test('are the sub-folders in the order of their names', async () => {
    await putPictures('zebra/1.png', 'Ant/2.png', 'cat/deep/3.png', 'zebra/4.png', 'ant/5.png', 'empty/notes.txt');
    const dataset = await imageFolder(path(), { size, classes: true });
    expect(dataset.classNames).toEqual(['Ant', 'ant', 'cat', 'zebra']);
    expect(dataset.sources).toEqual(['Ant/2.png', 'ant/5.png', 'cat/deep/3.png', 'zebra/1.png', 'zebra/4.png']);
    expect([...(dataset.labels as Int32Array)]).toEqual([0, 1, 2, 3, 3]);
    expect(dataset.image(4).label).toBe(3);
    expect(dataset.classes).toBe(4);
  });

  test('of their own images alone, where sub-folders are left out', async () => {
    await putPictures('a/1.png', 'a/deep/2.png', 'b/3.png');
    expect(await sourcesOf({ classes: true, recursive: false })).toEqual(['a/1.png', 'b/3.png']);
  });

  test('keep their labels where a file is skipped', async () => {
    await putPictures('a/1.png', 'b/3.png');
    put(path('a/2.png'), '');
    const dataset = await imageFolder(path(), { size, classes: true, onUnreadable: 'skip' });
    expect(dataset.sources).toEqual(['a/1.png', 'b/3.png']);
    expect([...(dataset.labels as Int32Array)]).toEqual([0, 1]);
  });

  test('images outside of them are an error that names them', async () => {
    await putPictures('a/1.png', 'stray.png');
    const error = await rejection(sourcesOf({ classes: true }));
    expect(error.code).toBe('ERR_DATASET');
    expect(error.message).toBe(`1 images in '${path()}' are in no class folder (classes: true):\n  stray.png`);
  });

  test('are none where not asked for', async () => {
    await putPictures('a/1.png');
    const dataset = await imageFolder(path(), { size });
    expect(dataset.labels).toBeUndefined();
    expect(dataset.image(0).label).toBeUndefined();
    expect(dataset.classes).toBe(0);
  });
});

describe('unreadable files', () => {
  test('are all named at once', async () => {
    await putPictures('b.png', 'd.png');
    put(path('a.png'), '');
    put(path('c.png'), 'text');
    put(path('sub/e.png'), (await picture(1)).subarray(0, 60));
    const error = await rejection(sourcesOf());
    expect(error.code).toBe('ERR_DATASET');
    const [first, ...lines] = error.message.split('\n');
    expect(first).toBe(`3 of the 5 images in '${path()}' cannot be read (onUnreadable: 'skip' goes on without them):`);
    expect(lines.map((line) => line.slice(0, line.indexOf(':')))).toEqual(['  a.png', '  c.png', '  sub/e.png']);
  });

  test('are named up to twenty of them', async () => {
    await putPictures('ok.png');
    for (let i = 10; i < 33; i++) put(path(`${i}.png`), '');
    const lines = (await rejection(sourcesOf())).message.split('\n');
    expect(lines).toHaveLength(22);
    expect(lines[20]).toBe('  29.png: the file is empty');
    expect(lines[21]).toBe('  and 3 more');
  });

  test('are left out and listed where asked', async () => {
    await putPictures('a.png', 'c.png');
    put(path('b.png'), '');
    const dataset = await imageFolder(path(), { size, onUnreadable: 'skip' });
    expect(dataset.sources).toEqual(['a.png', 'c.png']);
    expect(dataset.count).toBe(2);
    expect(dataset.skipped).toEqual([{ file: 'b.png', reason: 'the file is empty' }]);
    expect([...dataset.image(1).data]).toEqual([...bytesOf(size * size * 3, 1)]);
  });

  test('are an error all the same where there is nothing else', async () => {
    put(path('a.png'), '');
    put(path('b.png'), 'text');
    const error = await rejection(sourcesOf({ onUnreadable: 'skip' }));
    expect(error.code).toBe('ERR_DATASET');
    expect(error.message).toMatch(/^None of the 2 images in '.*' can be read:\n {2}a\.png: .*\n {2}b\.png: .*$/);
  });

  // Windows has no named pipes in folders.
  if (process.platform !== 'win32') {
    test('a named pipe does not hang', async () => {
      execFileSync('mkfifo', [path('a.png')]);
      expect((await rejection(sourcesOf())).message).toMatch(/ {2}a\.png: not a regular file$/);
    });
  }
});

describe('a folder that cannot be read', () => {
  const refused = (call: 'opendir' | 'realpath') => {
    const real = fs[call] as (path: string, ...rest: unknown[]) => Promise<unknown>;
    const fake = async (folder: string, ...rest: unknown[]) => {
      if (!folder.endsWith('lost+found')) return real(folder, ...rest);
      throw Object.assign(new Error(`EACCES: permission denied, ${call} '${folder}'`), {
        code: 'EACCES',
        syscall: call,
      });
    };
    jest.spyOn(fs, call).mockImplementation(fake as never);
  };
  beforeEach(async () => {
    await putPictures('a.png', 'sub/b.png');
    mkdirSync(path('lost+found'));
  });
  afterEach(() => jest.restoreAllMocks());

  test.each(['opendir', 'realpath'] as const)('is named before anything is decoded (%s)', async (call) => {
    refused(call);
    const onProgress = jest.fn();
    const { code, message } = await rejection(sourcesOf({ onProgress }));
    expect(code).toBe('ERR_DATASET');
    expect(message).toBe(
      `1 of the folders in '${path()}' cannot be read (onUnreadable: 'skip' goes on without them, and so does a filter ` +
        'that does not take them):\n  lost+found/: permission denied',
    );
    expect(onProgress).not.toHaveBeenCalled();
  });

  test('is listed where asked, and not kept in a cache', async () => {
    refused('opendir');
    const options = { size, onUnreadable: 'skip', cacheFile: path('pixels.cache') } as const;
    const { sources, skipped } = await imageFolder(path(), options);
    expect(sources).toEqual(['a.png', 'sub/b.png']);
    expect(skipped).toEqual([{ file: 'lost+found/', reason: 'permission denied' }]);
    jest.restoreAllMocks();
    expect((await imageFolder(path(), options)).skipped).toEqual([]);
  });

  test('is left out by a filter, with a warning', async () => {
    refused('opendir');
    const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    expect(await sourcesOf({ filter: (file) => !file.startsWith('lost+found/') })).toEqual(['a.png', 'sub/b.png']);
    expect(emitted.mock.calls).toEqual([
      [
        `${path('lost+found')}: left out, and what is in it: permission denied`,
        expect.objectContaining({ code: 'DDPM_FOLDER_UNREADABLE' }),
      ],
    ]);
  });

  test('is named where there is nothing else', async () => {
    refused('opendir');
    const filter = (file: string) => file.startsWith('lost+found/');
    const { message } = await rejection(sourcesOf({ onUnreadable: 'skip', filter }));
    expect(message).toMatch(/^No images in .*\. Folders that cannot be read:\n {2}lost\+found\/: permission denied$/s);
  });
});

describe('folders without images', () => {
  test('a missing one', async () => {
    const error = await rejection(imageFolder(path('gone'), { size }));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`Cannot read '${path('gone')}': no such file or directory`);
  });

  test('a file', async () => {
    await putPictures('a.png');
    const error = await rejection(imageFolder(path('a.png'), { size }));
    expect(error.code).toBe('ERR_DATASET');
    expect(error.message).toBe(`Cannot read '${path('a.png')}': it is not a folder`);
  });

  test.each([
    ['an empty one', () => {}],
    ['one with other files', () => put(path('notes.txt'), 'x')],
    ['one with empty folders', () => mkdirSync(path('a/b'), { recursive: true })],
  ])('%s', async (_, prepare) => {
    prepare();
    const error = await rejection(imageFolder(path(), { size }));
    expect(error.code).toBe('ERR_DATASET');
    expect(error.message).toMatch(
      /^No images in '.*': expected files that end in .*\.gif, .*\.png, .*\.svg, .*\.webp$/,
    );
  });
});

test('the order and the levels are the same however many files are decoded at once', async () => {
  for (let i = 0; i < 40; i++) {
    // Large ones among small ones, so that they do not end in their order.
    const side = i % 7 === 0 ? 400 : 10;
    put(
      path(`${String(i).padStart(2, '0')}.png`),
      await flat(`#${(0x200000 + i * 5000).toString(16)}`, side)
        .png()
        .toBuffer(),
    );
  }
  const one = await imageFolder(path(), { size, concurrency: 1 });
  const many = await imageFolder(path(), { size, concurrency: 16 });
  expect(many.sources).toEqual(one.sources);
  for (let i = 0; i < 40; i++) expect(many.image(i)).toEqual(one.image(i));
});

test('progress counts every file once, in order', async () => {
  await putPictures('a.png', 'b.png', 'd.png');
  put(path('c.png'), '');
  const seen: ImageFolderProgress[] = [];
  await imageFolder(path(), { size, onUnreadable: 'skip', onProgress: (progress) => seen.push(progress) });
  expect(seen).toEqual([1, 2, 3, 4].map((done) => ({ done, total: 4 })));
});

describe('abort', () => {
  test('before the start', async () => {
    const error = await rejection(imageFolder(path('gone'), { size, signal: AbortSignal.abort('enough') }));
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
  });

  test.each([undefined, 'pixels.cache'])('on the way, with cacheFile %s', async (cacheFile) => {
    await putPictures(...Array.from({ length: 20 }, (_, i) => `in/${i}.png`));
    const controller = new AbortController();
    let last = 0;
    const onProgress = ({ done }: ImageFolderProgress) => {
      last = done;
      if (done === 5) controller.abort('enough');
    };
    const cache = cacheFile === undefined ? {} : { cacheFile: path('out', cacheFile) };
    const reading = imageFolder(path('in'), { size, concurrency: 2, onProgress, signal: controller.signal, ...cache });
    expect(await rejection(reading)).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
    expect(last).toBe(5);
    if (cacheFile) expect(await readdir(path('out'))).toEqual([]);
  });
});

test('what a callback throws comes out', async () => {
  await putPictures('a.png');
  const thrown = new Error('mine');
  const raise = () => {
    throw thrown;
  };
  expect(await rejection(imageFolder(path(), { size, onProgress: raise }))).toBe(thrown);
  expect(await rejection(imageFolder(path(), { size, filter: raise }))).toBe(thrown);
});

describe('wrong options', () => {
  const folder = '/nowhere';
  test.each<[unknown, string]>([
    [undefined, 'options: expected an object, got undefined (undefined)'],
    [{}, 'options: expected either size or both height and width, got {} (object)'],
    [{ height: 8 }, 'options: expected either size or both height and width, got { height: 8 } (object)'],
    [
      { size: 8, width: 8 },
      'options: expected either size or both height and width, got { size: 8, width: 8 } (object)',
    ],
    [{ size: 0 }, 'size: expected an integer from 1 to 8192, got 0 (number)'],
    [{ size: 1.5 }, 'size: expected an integer from 1 to 8192, got 1.5 (number)'],
    [{ size: Number.NaN }, 'size: expected an integer from 1 to 8192, got NaN (number)'],
    [{ size: '32' }, "size: expected an integer from 1 to 8192, got '32' (string)"],
    [{ height: 8193, width: 8 }, 'height: expected an integer from 1 to 8192, got 8193 (number)'],
    [{ size: 8, channels: 2 }, 'channels: expected 1, 3 or 4, got 2 (number)'],
    [{ size: 8, fit: 'inside' }, "fit: expected 'cover', 'contain' or 'fill', got 'inside' (string)"],
    [{ size: 8, background: 'white' }, "background: expected a colour as '#rgb' or '#rrggbb', got 'white' (string)"],
    [{ size: 8, background: '#ffff' }, "background: expected a colour as '#rgb' or '#rrggbb', got '#ffff' (string)"],
    [
      { size: 8, channels: 4, background: '#fff' },
      "background: expected no value (4 channels keep transparency), got '#fff' (string)",
    ],
    [{ size: 8, classes: 1 }, 'classes: expected true or false, got 1 (number)'],
    [{ size: 8, recursive: 'no' }, "recursive: expected true or false, got 'no' (string)"],
    [{ size: 8, onUnreadable: 'ignore' }, "onUnreadable: expected 'error' or 'skip', got 'ignore' (string)"],
    [{ size: 8, cacheFile: '' }, "cacheFile: expected a path, got '' (string)"],
    [{ size: 8, concurrency: 0 }, 'concurrency: expected an integer from 1 to 1024, got 0 (number)'],
    [{ size: 8, filter: /a/ }, 'filter: expected a function, got /a/ (RegExp)'],
    [{ size: 8, onProgress: true }, 'onProgress: expected a function, got true (boolean)'],
    [{ size: 8, signal: {} }, 'signal: expected an AbortSignal, got {} (object)'],
  ])('%j', async (options, message) => {
    const error = await rejection(imageFolder(folder, options as ImageFolderOptions));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message });
  });

  test('an unknown one names the nearest', async () => {
    const error = await rejection(imageFolder(folder, { size: 8, onunreadable: 'skip' } as ImageFolderOptions));
    expect(error.message).toMatch(/^onunreadable: unknown option; did you mean 'onUnreadable'\? Known: size, height, /);
  });

  test('no folder', async () => {
    const error = await rejection(imageFolder(undefined as unknown as string, { size: 8 }));
    expect(error).toMatchObject({ code: 'ERR_CONFIG', message: 'folder: expected a path, got undefined (undefined)' });
  });
});

test('an image that is not there', async () => {
  await putPictures('a.png', 'b.png');
  const dataset = await imageFolder(path(), { size });
  for (const index of [-1, 2, 0.5, Number.NaN, '0' as unknown as number]) {
    expect(() => dataset.image(index)).toThrow(/^index: expected an integer from 0 to 1, got /);
  }
});
