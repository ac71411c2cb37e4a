/** A few kills of `npm run soak`, which does hundreds; and that it fails where it must. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const script = join(__dirname, '../../scripts/soak.mjs');

function soak(...flags: string[]) {
  const given = [script, '--steps', '60', '--seed', '3', ...flags];
  return spawnSync(process.execPath, given, { encoding: 'utf8' });
}

test('killed at chosen events and resumed, a training is the one that never stopped', () => {
  const { status, stdout, stderr } = soak('--kills', '5', '--mid-save', '2', '--resumes', '4');
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^5 kills, [2-5] of them in the middle of a save; [4-9] resumes; 0 problems$/m);
  expect(status).toBe(0);
}, 300_000);

test.each([
  ['fsync', /optimizer\.safetensors: expected \d+ bytes, got 0/],
  ['step', /run 1: expected \{"step":\d+,"loss"/],
])(
  'a fault shows: %s',
  (fault, problem) => {
    const { status, stdout, stderr } = soak('--kills', '3', '--fault', fault);
    expect(stderr).toMatch(problem);
    expect(stdout).toMatch(/; [1-9]\d* problems$/m);
    expect(status).toBe(1);
  },
  300_000,
);

test('too little happened: no success', () => {
  const { status, stderr } = soak('--kills', '1', '--mid-save', '2', '--resumes', '3');
  expect(stderr).toBe(
    'expected at least 2 kills in the middle of a save, got 1\nexpected at least 3 resumes from a checkpoint, got 1\n',
  );
  expect(status).toBe(1);
}, 300_000);

test.each([
  [['--kills', 'many'], '--kills: expected a whole number, got many'],
  [['--fault', 'both'], '--fault: expected fsync or step, got both'],
])('%j is refused', (flags, message) => {
  const { status, stderr } = soak(...flags);
  expect(stderr).toContain(message);
  expect(status).toBe(1);
});
