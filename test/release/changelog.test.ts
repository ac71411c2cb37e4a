/** The change log's form, and the notes of a release that are made of it. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runNode, temporaryFolder } from '../setup/helpers';

const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
const { version }: { version: string } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** By the numbers alone: a pre-release is not told from its release. */
function isNewer(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => text.split('-')[0].split('.').map(Number));
  const at = left.findIndex((number, i) => number !== right[i]);
  return at >= 0 && left[at] > right[at];
}

test('sections, newest first, with dates and the kinds of change that the form knows', () => {
  const headings = [...changelog.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
  expect(headings[0]).toBe('[Unreleased]');
  const released = headings.slice(1).map((heading) => {
    expect(heading).toMatch(/^\[\d+\.\d+\.\d+(-[\w.]+)?\] - \d{4}-\d{2}-\d{2}$/);
    return heading.slice(1, heading.indexOf(']'));
  });
  for (const [i, older] of released.slice(1).entries()) expect(isNewer(older, released[i])).toBe(false);
  if (released.length > 0) expect(isNewer(released[0], version)).toBe(false);
  for (const [, kind] of changelog.matchAll(/^### (.*)$/gm)) {
    expect(['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']).toContain(kind);
  }
});

/** A package of version 1.2.0 with this change log. */
function packageWith(text: string): string {
  const folder = join(temporaryFolder(), 'package');
  mkdirSync(folder);
  cpSync(join(root, 'scripts'), join(folder, 'scripts'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "version": "1.2.0" }');
  writeFileSync(join(folder, 'CHANGELOG.md'), text);
  return folder;
}

const notes = (folder: string, ...args: string[]) => runNode(['scripts/release-notes.mjs', ...args], {}, folder);

test('the notes of a release are its section', async () => {
  const folder = packageWith(
    '# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n### Added\n\n- A.\n\n## [1.1.0] - 2026-01-01\n\n- B.\n',
  );
  expect(await notes(folder, 'v1.2.0')).toEqual({ code: 0, stdout: '### Added\n\n- A.\n', stderr: '' });
});

test.each([
  ['another tag', '## [1.2.0] - 2026-01-31\n\n- A.\n', ['v1.3.0'], 'the tag is v1.3.0, and package.json has 1.2.0'],
  ['no section', '## [Unreleased]\n\n- A.\n', ['v1.2.0'], "CHANGELOG.md has no section '## [1.2.0] - <date>'"],
  ['no date', '## [1.2.0]\n\n- A.\n', ['v1.2.0'], "CHANGELOG.md has no section '## [1.2.0] - <date>'"],
  ['nothing in it', '## [1.2.0] - 2026-01-31\n\n## [1.1.0] - 2026-01-01\n', ['v1.2.0'], 'with anything in it'],
  ['no tag', '', [], 'expected one tag'],
])('no release with %s', async (_, text, args, message) => {
  const { code, stdout, stderr } = await notes(packageWith(text), ...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(message);
});
