import { existsSync, lstatSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, temporaryFolder, type ZipEntry, zip } from './helpers';

/** Unpacks a zip of these entries, each to where it says; gives the number of files or `{ error }`, and the folder. */
async function unpack(entries: ZipEntry[]) {
  const folder = temporaryFolder();
  const [archive, destination] = [join(folder, 'a.zip'), join(folder, 'to')];
  writeFileSync(archive, zip(entries));
  const arguments_ = [archive, destination].map((path) => JSON.stringify(path)).join(', ');
  const place = `(name) => (name.startsWith('leave/') ? undefined : name)`;
  const result = await evaluate<number | { error: string }>(
    'libtorch/unzip.mjs',
    `module.unzip(${arguments_}, ${place})`,
  );
  return { result, folder, destination };
}

const link = 0o120777;

test('files come out with their content and executable bits, links as links, the unwanted not at all', async () => {
  const { result, destination } = await unpack([
    { name: 'lib/', content: '' },
    { name: 'lib/libé.so.1.2', content: 'x'.repeat(100_000), mode: 0o100755 },
    { name: 'lib/libé.so', content: 'libé.so.1.2', mode: link },
    { name: 'include/a.h', content: 'header' },
    { name: 'leave/b.py', content: 'python' },
  ]);
  expect(result).toBe(3);
  expect(readFileSync(join(destination, 'lib', 'libé.so'), 'utf8')).toBe('x'.repeat(100_000));
  expect(readlinkSync(join(destination, 'lib', 'libé.so'))).toBe('libé.so.1.2');
  expect(statSync(join(destination, 'lib', 'libé.so.1.2')).mode & 0o111).toBe(0o111);
  expect(statSync(join(destination, 'include', 'a.h')).mode & 0o111).toBe(0);
  expect(existsSync(join(destination, 'leave'))).toBe(false);
});

test.each(['../outside', 'a/../../outside', '/tmp/outside'])(
  'the name %s is refused and nothing is written',
  async (name) => {
    const { result, folder } = await unpack([{ name, content: 'x' }]);
    expect(result).toHaveProperty('error');
    expect(existsSync(join(folder, 'outside'))).toBe(false);
  },
);

test('links that lead out are refused, also by way of other links and when an entry would be written through one', async () => {
  const direct = await unpack([{ name: 'a', content: '..', mode: link }]);
  expect(direct.result).toEqual({ error: expect.stringContaining('leads out of the folder') });
  expect(lstatSync(join(direct.destination, 'a'), { throwIfNoEntry: false })).toBeUndefined();

  const byAnother = await unpack([
    { name: 'd/e/f', content: '' },
    { name: 'd/e/up', content: '../..', mode: link },
    { name: 'd/e/out', content: 'up/../..', mode: link },
  ]);
  expect(byAnother.result).toEqual({ error: expect.stringContaining('leads out of the folder') });

  const through = await unpack([
    { name: 'a', content: '..', mode: link },
    { name: 'a/outside', content: 'x' },
  ]);
  expect(through.result).toHaveProperty('error');
  expect(existsSync(join(through.folder, 'outside'))).toBe(false);
});

test('an entry that comes twice, or whose checksum is wrong, is an error', async () => {
  const twice = await unpack([
    { name: 'a', content: '1' },
    { name: 'a', content: '2' },
  ]);
  expect(twice.result).toEqual({ error: expect.stringContaining('EEXIST') });
  const damaged = await unpack([{ name: 'a', content: 'content', crc: 1 }]);
  expect(damaged.result).toEqual({ error: expect.stringContaining('a is damaged (its checksum is wrong)') });
});
