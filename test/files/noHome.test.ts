/** A user without a home folder: HOME is not set and the system has no entry, as in containers that run as a bare number. */
import { mkdirSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { Ddpm } from '../../lib';
import { findLibtorch } from '../../lib/loading/libtorch';
import type { AddonRecord } from '../../lib/loading/record';
import { failure, temporaryFolder } from '../helpers/folder';
import { FakeHub } from '../hub/server';
import { modelFiles, repository } from '../hub/support';
import { evaluate, libtorchFiles, writeFiles } from '../setup/helpers';

const folder = temporaryFolder();
const noHome = /there is no home folder to keep a cache in \(HOME is not set, .*\); name a folder in DDPM_CACHE$/;

let before: NodeJS.ProcessEnv;
beforeEach(() => {
  before = { ...process.env };
  for (const name of ['DDPM_CACHE', 'DDPM_LIBTORCH', 'XDG_CACHE_HOME', 'HF_HOME', 'LOCALAPPDATA'])
    delete process.env[name];
});
afterEach(() => {
  process.env = before;
  jest.restoreAllMocks();
});

/** Both ways in which Node tells: the second where HOME is there and empty. */
const ways: [string, () => string][] = [
  [
    'an error',
    () => {
      throw Object.assign(new Error('A system error occurred: uv_os_homedir returned ENOENT'), {
        code: 'ERR_SYSTEM_ERROR',
        syscall: 'uv_os_homedir',
      });
    },
  ],
  ['an empty path', () => ''],
];

describe.each(ways)('told by %s', (_, homedir) => {
  beforeEach(() => void jest.spyOn(os, 'homedir').mockImplementation(homedir));

  test('a model from the hub needs a folder for its cache', async () => {
    const hub = new FakeHub();
    await hub.start();
    try {
      hub.commit(repository, modelFiles);
      const options = { hubUrl: hub.url, device: 'cpu' } as const;
      expect(await failure(Ddpm.fromHub(repository, options), 'ERR_CONFIG')).toMatch(noHome);
      await (await Ddpm.fromHub(repository, { ...options, cacheDir: join(folder(), 'mine') })).dispose();
      process.env.DDPM_CACHE = join(folder(), 'cache');
      await (await Ddpm.fromHub(repository, options)).dispose();
    } finally {
      await hub.stop();
    }
  });

  test('LibTorch for a prebuilt addon is found where it is named, and in the package', () => {
    const libtorch = { version: '2.13.0', build: 'cpu', abi: '2.13', libraries: ['lib/libc10.so'] };
    const record = { libtorch, variant: 'cpu' } as AddonRecord;
    const named = join(folder(), 'torch');
    const found = join(folder(), 'package', 'build', 'libtorch');
    for (const place of [named, found]) {
      mkdirSync(place, { recursive: true });
      writeFiles(place, { ...libtorchFiles('2.13.0'), 'lib/libc10.so': '' });
    }
    expect(findLibtorch(join(folder(), 'package'), record)).toEqual({ folder: found });
    const { why } = findLibtorch(folder(), record) as { why: string[] };
    expect(why).toEqual([
      expect.stringMatching(/build.libtorch: not there$/),
      expect.stringMatching(new RegExp(`^LibTorch in the user's cache: ${noHome.source}`)),
    ]);
    process.env.DDPM_LIBTORCH = named;
    expect(findLibtorch(folder(), record)).toEqual({ folder: named });
  });
});

test('the set-up takes a LibTorch that is named, and else says what to name', async () => {
  const torch = writeFiles(join(folder(), 'torch'), libtorchFiles('2.13.0'));
  const locate = (env: NodeJS.ProcessEnv) =>
    evaluate<{ root?: string; error?: string }>(
      'libtorch/locate.mjs',
      `module.locateLibtorch({ variant: 'cpu', asked: true, env: process.env, say: () => {}, needed: [] })`,
      { PATH: '/nonexistent', HOME: '', USERPROFILE: '', ...env },
    );
  expect(await locate({ DDPM_LIBTORCH: torch })).toMatchObject({ root: torch });
  if (process.platform !== 'win32') expect((await locate({})).error).toMatch(noHome);
});
