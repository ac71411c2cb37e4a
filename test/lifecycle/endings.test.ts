/** Processes and worker threads end as they must while models are at work in them. `npm run stress` does it 50 times. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childEnvironment, root } from './programs';

interface Scenario {
  name: string;
  /** With a model of 35.7M parameters. */
  large?: boolean;
  /** Like others here, but for what the model does: only `npm run stress` has it. */
  rarely?: boolean;
}

const scenarios = JSON.parse(readFileSync(join(__dirname, 'scenarios.json'), 'utf8')) as Scenario[];

test.each(scenarios.filter(({ large, rarely }) => !large && !rarely).map(({ name }) => name))('%s', (name) => {
  const stress = join(root, 'scripts', 'stress.mjs');
  const only = `^${name.replaceAll('.', '\\.')}$`;
  const { status, stdout, stderr } = spawnSync(process.execPath, [stress, '--repeats', '1', '--only', only], {
    env: childEnvironment(),
    encoding: 'utf8',
  });
  expect(stdout + stderr).toMatch(/^ok /);
  expect(status).toBe(0);
});

test.each([
  [['--repeats', '0'], '--repeats: expected a positive whole number, got 0'],
  [['--limit', 'long'], '--limit: expected a positive whole number, got long'],
  [['--only', 'no such'], "--only: no scenario's name matches no such"],
])('a run of nothing is refused: %j', (flags, message) => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'stress.mjs'), ...flags], {
    encoding: 'utf8',
  });
  expect(stderr).toContain(message);
  expect(status).toBe(1);
});
