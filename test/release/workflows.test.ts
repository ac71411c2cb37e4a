/** What GitHub's workflows rely on, and what they may do. `npm run lint:ci` holds them to GitHub's own rules. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
const folder = join(root, '.github', 'workflows');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

describe.each(readdirSync(folder))('%s', (file) => {
  const text = readFileSync(join(folder, file), 'utf8').replace(/^\s*#.*$/gm, '');
  const found = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, match]) => match);

  test('runs scripts that are there', () => {
    const runs = found(/\bnpm run ([\w:-]+)/g);
    expect(runs.length).toBeGreaterThan(0);
    expect(runs.filter((name) => !(name in scripts))).toEqual([]);
    expect(found(/\b(?:node|cp) (scripts\/[\w/.-]+)/g).filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('names actions by commit, with the release beside it', () => {
    const uses = found(/\buses: (.*)$/gm);
    expect(uses.length).toBeGreaterThan(0);
    expect(uses.filter((name) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(name))).toEqual([]);
  });

  test('may read and no more, but for the job that releases', () => {
    expect(text).toMatch(/^permissions:\n {2}contents: read\n/m);
    const jobs = text
      .slice(text.indexOf('\njobs:'))
      .split(/^ {2}(?=[\w-]+:$)/m)
      .slice(1);
    expect(jobs.length).toBeGreaterThan(0);
    for (const job of jobs) {
      expect(job).toContain('timeout-minutes: ');
      if (!job.startsWith('release:')) expect(job).not.toMatch(/permissions:|: write|secrets\./);
      else expect(job).toContain("startsWith(github.ref, 'refs/tags/v')");
    }
    expect(found(/(actions\/checkout)@/g).length).toBe(found(/(persist-credentials): false/g).length);
  });
});
