/** A few kills of `npm run soak`, which does hundreds. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

test('killed at random moments and resumed, a training is the one that never stopped', async () => {
  const script = join(__dirname, '../../scripts/soak.mjs');
  const flags = ['--kills', '5', '--steps', '80', '--seed', '4'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, ...flags]);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^5 kills, \d of them in the middle of a save; [1-5] resumes; 0 problems$/m);
}, 300_000);
