/** The cache's notes (which commit a branch stands for, what is listed): a model is there without them. */
import { readdirSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { Ddpm } from '../../lib';
import { mayMount, onReadOnlyFileSystem } from '../helpers/fileSystems';
import { failure } from '../helpers/folder';
import { expectedPrediction, hubForEachTest, modelFiles, prediction, repository, repositoryFolder } from './support';

const { hub, cacheDir, options } = hubForEachTest();

let warnings: string[];
beforeEach(() => {
  warnings = [];
  jest
    .spyOn(process, 'emitWarning')
    .mockImplementation((_, options) => void warnings.push(String(Object(options).code)));
});
afterEach(() => jest.restoreAllMocks());

const predicted = async (more = {}) => prediction(await Ddpm.fromHub(repository, options(more)));

/** Two branches and a tag of one commit. */
function twoBranches(): string {
  const commit = hub.commit(repository, modelFiles);
  for (const ref of ['other', 'v1.0']) expect(hub.commit(repository, modelFiles, { ref })).toBeDefined();
  return commit;
}

const onReadOnly = mayMount ? test : test.skip;

onReadOnly(
  'a read-only cache that holds the commit serves its other branches and tags (where one can be mounted)',
  async () => {
    const commit = twoBranches();
    await predicted({ revision: commit });
    hub.listing = () => [];
    await onReadOnlyFileSystem(cacheDir(), async () => {
      for (const revision of ['main', commit])
        expect(await predicted({ revision })).toEqual(await expectedPrediction());
      // Once a process.
      expect(warnings).toEqual(['DDPM_HUB_CACHE']);
    });
  },
);

test.each(['EROFS', 'EACCES', 'ENOSPC', 'EDQUOT', 'ERR_ACCESS_DENIED'])(
  'notes that cannot be written (%s) are left out',
  async (code) => {
    hub.commit(repository, modelFiles);
    await predicted();
    const { open } = fs;
    jest.spyOn(fs, 'open').mockImplementation(async (path, flags, ...more) => {
      if (/refs|snapshots$/.test(join(String(path), '..')) && flags === 'wx') {
        throw Object.assign(new Error(`${code}: refused`), { code, syscall: 'open' });
      }
      return open.call(fs, path, flags, ...more);
    });
    // Its commit is not in the cache, so that its listing is to be noted too.
    hub.commit(repository, { ...modelFiles, 'ddpm_node.json': Buffer.from('{"formatVersion": 1}') }, { ref: 'second' });
    expect(await predicted({ revision: 'second' })).toEqual(await expectedPrediction());
    const folder = repositoryFolder(cacheDir());
    expect(readdirSync(join(folder, 'refs'))).toEqual(['main']);
    expect(readdirSync(join(folder, 'snapshots')).filter((name) => name.endsWith('.json'))).toHaveLength(1);
  },
);

test('contents that cannot be written are an error', async () => {
  hub.commit(repository, modelFiles);
  const { open } = fs;
  jest.spyOn(fs, 'open').mockImplementation(async (path, flags, ...more) => {
    if (/partials/.test(String(path))) throw Object.assign(new Error('EROFS: no'), { code: 'EROFS', syscall: 'open' });
    return open.call(fs, path, flags, ...more);
  });
  expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_IO')).toMatch(/could not be written: EROFS/);
  expect(warnings).toEqual([]);
});

test('branches whose names differ in capitals alone, and long ones, have notes of their own', async () => {
  const long = `a/${'b-/'.repeat(30)}c`.slice(0, 120);
  const revisions = ['main', 'Main', 'mAIN', 'release/V1', 'release/v1', long, `${long}X`];
  const commits = revisions.map((ref, i) =>
    hub.commit(repository, { ...modelFiles, 'README.md': Buffer.from(String(i)) }, { ref }),
  );
  for (const revision of revisions) await (await Ddpm.fromHub(repository, options({ revision }))).dispose();
  const names = readdirSync(join(repositoryFolder(cacheDir()), 'refs'));
  expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(revisions.length);
  expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(200);
  await hub.stop();
  for (const revision of revisions) await (await Ddpm.fromHub(repository, options({ revision }))).dispose();
  expect(warnings).toEqual(revisions.map(() => 'DDPM_HUB_UNREACHABLE'));
  expect(new Set(commits).size).toBe(revisions.length);
});
