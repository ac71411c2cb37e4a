/** One set-up at a time, whatever became of the one before. */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { evaluate, root, temporaryFolder } from './helpers';

/** Takes the lock in a process of its own for some milliseconds; gives when it had it, and what it said. */
function hold(file: string, milliseconds: number) {
  const program = `{
    const lines = [];
    const times = await module.withLock(${JSON.stringify(file)}, (line) => lines.push(line), async () => {
      const begin = Date.now();
      await new Promise((resolve) => setTimeout(resolve, ${milliseconds}));
      return { begin, end: Date.now() };
    });
    return { ...times, lines };
  }`;
  return evaluate<{ begin: number; end: number; lines: string[] }>('libtorch/lock.mjs', program);
}

test('of several at once each has it alone, the others say whom they wait for, and nothing is left', async () => {
  const folder = temporaryFolder();
  const all = await Promise.all([1, 2, 3].map(() => hold(join(folder, 'lock'), 300)));
  all.sort((a, b) => a.begin - b.begin);
  for (let i = 1; i < all.length; i++) expect(all[i].begin).toBeGreaterThanOrEqual(all[i - 1].end);
  expect(all[2].lines).toEqual([expect.stringMatching(/^process \d+ on .* is setting LibTorch up too; waiting/)]);
  expect(readdirSync(folder)).toEqual([]);
});

test('one that fails gives it back', async () => {
  const file = join(temporaryFolder(), 'lock');
  const failing = `module.withLock(${JSON.stringify(file)}, () => {}, () => Promise.reject(new Error('no')))`;
  expect(await evaluate('libtorch/lock.mjs', failing)).toEqual({ error: 'no' });
  expect(existsSync(file)).toBe(false);
});

test('that of one that was killed is taken over, at once and by one alone', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'lock');
  const module = JSON.stringify(pathToFileURL(join(root, 'scripts', 'libtorch', 'lock.mjs')).href);
  const program = `
    import { withLock } from ${module};
    await withLock(${JSON.stringify(file)}, () => {}, () => { console.log('held'); return new Promise((done) => setTimeout(done, 60_000)); });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  expect(existsSync(file)).toBe(true);

  const [first, second] = (await Promise.all([hold(file, 200), hold(file, 200)])).sort((a, b) => a.begin - b.begin);
  expect(second.begin).toBeGreaterThanOrEqual(first.end);
  expect(first.lines).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

test.each([
  ['on another machine', { token: 'a', pid: 1, host: `not ${hostname()}` }],
  ['that wrote nothing into it', undefined],
])('that of one %s is waited for until it has been silent for a minute', async (_, holder) => {
  const file = join(temporaryFolder(), 'lock');
  writeFileSync(file, holder ? JSON.stringify(holder) : '');
  let taken = false;
  const waiting = hold(file, 0).then(() => {
    taken = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(taken).toBe(false);
  const twoMinutesAgo = Date.now() / 1000 - 120;
  utimesSync(file, twoMinutesAgo, twoMinutesAgo);
  await waiting;
  expect(existsSync(file)).toBe(false);
});
