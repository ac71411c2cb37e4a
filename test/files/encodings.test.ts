/** Names of files that are not UTF-8, which JavaScript's strings cannot hold: what is wrong is told. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { Ddpm, imageFolder } from '../../lib';
import { failure, temporaryFolder } from '../helpers/folder';

const folder = temporaryFolder();
// Other systems' file systems take no such names.
const onLinux = process.platform === 'linux' ? test : test.skip;
const told = 'the name is not in UTF-8, and cannot be opened: rename the file';

/** The path of a name in Latin-1, below the test's folder. */
const latin1 = (name: string) => Buffer.concat([Buffer.from(`${folder()}/`), Buffer.from(name, 'latin1')]);

const options = { size: 8, channels: 1 } as const;

beforeEach(async () => {
  const picture = { create: { width: 8, height: 8, channels: 3, background: 'red' } } as const;
  const png = await sharp(picture).png().toBuffer();
  writeFileSync(join(folder(), 'café.png'), png);
  if (process.platform === 'linux') writeFileSync(latin1('gr\xfcn.png'), png);
});

onLinux('a picture', async () => {
  expect(await failure(imageFolder(folder(), options), 'ERR_DATASET')).toContain(told);
  const dataset = await imageFolder(folder(), { ...options, onUnreadable: 'skip' });
  expect(dataset.count).toBe(1);
  expect(dataset.skipped).toEqual([{ file: 'gr\uFFFDn.png', reason: told }]);
});

onLinux('a folder of pictures', async () => {
  mkdirSync(latin1('M\xfcnchen'));
  rmSync(latin1('gr\xfcn.png'));
  expect(await failure(imageFolder(folder(), options), 'ERR_DATASET')).toContain(
    'M\uFFFDnchen/: the name is not in UTF-8, and cannot be opened: rename the folder',
  );
  const { count, skipped } = await imageFolder(folder(), { ...options, onUnreadable: 'skip' });
  expect(count).toBe(1);
  expect(skipped).toEqual([{ file: 'M\uFFFDnchen/', reason: expect.stringContaining('the name is not in UTF-8') }]);
});

onLinux('a model', async () => {
  mkdirSync(latin1('m\xf6del'));
  const name = readdirSync(folder()).find((entry) => entry.startsWith('m')) as string;
  expect(await failure(Ddpm.load(join(folder(), name)), 'ERR_CHECKPOINT')).toMatch(
    /expected the folder of a saved model: the name is not in UTF-8, and cannot be opened: rename the folder$/,
  );
});

test('what is not there, and has a name in UTF-8, is not there', async () => {
  expect(await failure(Ddpm.load(join(folder(), 'café')), 'ERR_CHECKPOINT')).toMatch(/: no such folder$/);
});
