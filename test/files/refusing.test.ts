/**
 * File systems that refuse, over every call that writes: each call saves, or rejects with a code and leaves what was there
 * as it was. What does not concern the contents (flushing, that is) is left out with a warning.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  foldsCase,
  mayMount,
  onCaseInsensitiveFileSystem,
  onReadOnlyFileSystem,
  onSmallFileSystem,
} from '../helpers/fileSystems';
import { temporaryFolder, treeOf } from '../helpers/folder';
import { FakeHub } from '../hub/server';
import { modelFiles, repository } from '../hub/support';
import { evaluate, libtorchFiles, writeFiles } from '../setup/helpers';

const folder = temporaryFolder();
const hub = new FakeHub();
beforeEach(async () => {
  await hub.start();
  hub.commit(repository, modelFiles);
});
afterEach(async () => {
  await hub.stop();
  hub.reset();
});

interface Outcome {
  /** By the call: 'saved', or what it rejected with. */
  results: Record<string, string>;
  /** Codes of the warnings. */
  warnings: string[];
}

/** Runs `programs/saveAll.cjs` on a folder. */
function saveAll(path: string, { flags = [], flush }: { flags?: string[]; flush?: string } = {}): Promise<Outcome> {
  const preload = flush === undefined ? [] : ['--require', join(__dirname, '..', 'helpers', 'refuse.cjs')];
  const args = [...flags, ...preload, join(__dirname, 'programs', 'saveAll.cjs'), path, hub.url];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env: { ...process.env, REFUSE_FLUSH: flush } }, (error, stdout) => {
      if (error) reject(error);
      else resolve(JSON.parse(stdout));
    });
  });
}

const calls = [
  'save',
  'save over',
  'load',
  'images',
  'images over',
  'cache file',
  'saveCheckpoint',
  'train',
  'resume',
  'fromHub',
];
const allSaved = Object.fromEntries(calls.map((name) => [name, 'saved']));

test.each(['folders EINVAL', 'folders ENOTSUP', 'all ENOSYS'])(
  'where flushing is not known (%s) all is saved, with one warning',
  async (flush) => {
    expect(await saveAll(folder(), { flush })).toEqual({ results: allSaved, warnings: ['DDPM_NOT_FLUSHED'] });
  },
);

test('where flushing fails, nothing counts as saved', async () => {
  const { results, warnings } = await saveAll(folder(), { flush: 'all EIO' });
  for (const name of ['save', 'save over', 'images', 'saveCheckpoint', 'fromHub']) {
    expect(results[name]).toMatch(/^DdpmError ERR_IO: .*: could not be written: EIO: /);
  }
  expect(results.train).toBe('no checkpoint: ERR_IO');
  expect(warnings).not.toContain('DDPM_NOT_FLUSHED');
  const files = Object.entries(treeOf(folder())).flatMap(([path, contents]) => (contents === null ? [] : path));
  expect(files.filter((path) => !path.startsWith('hub'))).toEqual([]);
});

describe("Node's permission model", () => {
  const known = (flag: string) => process.allowedNodeEnvironmentFlags.has(flag);
  const flags = [
    known('--permission') ? '--permission' : '--experimental-permission',
    ...(known('--allow-addons') ? ['--allow-addons'] : []),
    ...(known('--allow-net') ? ['--allow-net'] : []),
    '--allow-fs-read=*',
  ];

  test('saves all where it allows to write', async () => {
    const outcome = await saveAll(folder(), { flags: [...flags, `--allow-fs-write=${folder()}/`] });
    expect(outcome).toEqual({ results: allSaved, warnings: [] });
  });

  test('rejects with a code elsewhere', async () => {
    const path = join(folder(), 'mine');
    mkdirSync(path);
    const { results } = await saveAll(path, { flags: [...flags, `--allow-fs-write=${join(folder(), 'yours')}/`] });
    for (const name of ['save', 'save over', 'images', 'images over', 'saveCheckpoint', 'fromHub']) {
      expect(results[name]).toMatch(/^DdpmError ERR_IO: .*could not be written: Node's permission model forbids it \(/);
    }
    expect(treeOf(folder())).toEqual({ mine: null });
  });
});

test("the set-up's cache, where flushing is not known", async () => {
  const torch = writeFiles(join(folder(), 'brought'), libtorchFiles('2.13.0'));
  const place = join(folder(), 'cache', 'libtorch-2.13.0-cpu');
  const program = `(async () => {
    const { cpSync } = await import('node:fs');
    const context = { folder: ${JSON.stringify(place)}, platform: process.platform, say() {} };
    const fill = async (tree) => cpSync(${JSON.stringify(torch)}, tree + '/torch', { recursive: true });
    return (await module.putInCache(context, fill)).root;
  })()`;
  const NODE_OPTIONS = `--require ${JSON.stringify(join(__dirname, '..', 'helpers', 'refuse.cjs'))}`;
  const found = await evaluate('libtorch/cache.mjs', program, { NODE_OPTIONS, REFUSE_FLUSH: 'all ENOTSUP' });
  expect(found).toBe(join(place, 'torch'));
});

/** Where nothing can be written, over what `saveAll` has left before: what must be written is refused with `reason`. */
async function expectRefusedOver(path: string, reason: RegExp): Promise<void> {
  const before = treeOf(path);
  const { results } = await saveAll(path);
  for (const name of ['save', 'save over', 'images', 'images over', 'saveCheckpoint']) {
    expect(`${name}: ${results[name]}`).toMatch(/: DdpmError ERR_IO: /);
    expect(`${name}: ${results[name]}`).toMatch(reason);
  }
  expect(results).toMatchObject({ load: 'saved', resume: 'saved', train: 'no checkpoint: ERR_IO' });
  expect(treeOf(path)).toEqual(before);
}

const onMounted = mayMount ? test : test.skip;

onMounted('a read-only file system (where one can be mounted)', async () => {
  await saveAll(folder());
  await onReadOnlyFileSystem(folder(), async () => {
    await expectRefusedOver(folder(), /EROFS: read-only file system/);
    // What is in the caches serves.
    const { results, warnings } = await saveAll(folder());
    expect(results).toMatchObject({ fromHub: 'saved', 'cache file': 'saved' });
    expect(warnings).not.toContain('DDPM_HUB_CACHE');
    await hub.stop();
    expect((await saveAll(folder())).results.fromHub).toBe('saved');
  });
});

onMounted('a full file system (where one can be mounted)', async () => {
  const disk = join(folder(), 'disk');
  mkdirSync(disk);
  await onSmallFileSystem(disk, 64 * 1024 * 1024, async () => {
    await saveAll(disk);
    const { bfree, bsize } = statfsSync(disk);
    writeFileSync(join(disk, 'ballast'), new Uint8Array(bfree * bsize));
    await expectRefusedOver(disk, /ENOSPC/);
    expect((await saveAll(disk)).results.fromHub).toBe('saved');
    // Another commit, for which there is no room.
    hub.commit(repository, { ...modelFiles, 'unet/diffusion_pytorch_model.safetensors': Buffer.alloc(1_000_000) });
    const before = treeOf(disk);
    expect((await saveAll(disk)).results.fromHub).toMatch(/^DdpmError ERR_IO: .*ENOSPC/);
    const after = treeOf(disk);
    for (const path of Object.keys(before)) expect(after[path]).toBe(before[path]);
  });
});

const onFolded = foldsCase === 'nowhere' ? test.skip : test;

onFolded('a file system in which letters of both cases are one (where there is one)', async () => {
  await onCaseInsensitiveFileSystem(folder(), async (path) => {
    expect(await saveAll(path)).toEqual({ results: allSaved, warnings: [] });
    expect(await saveAll(path)).toEqual({ results: allSaved, warnings: [] });
  });
});
