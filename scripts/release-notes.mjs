#!/usr/bin/env node
/**
 * `node scripts/release-notes.mjs v1.2.3`: prints what CHANGELOG.md tells of a release. Fails where the tag is not that
 * of the version in package.json, or the change log has no dated section for it: nothing may be released then.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './setup/package.mjs';
import { run, SetupError } from './setup/report.mjs';

await run(async () => {
  const [tag, ...rest] = process.argv.slice(2);
  if (tag === undefined || rest.length > 0) throw new SetupError('release-notes: expected one tag, such as v1.2.3');
  const { version } = JSON.parse(read('package.json'));
  if (tag !== `v${version}`) throw new SetupError(`release-notes: the tag is ${tag}, and package.json has ${version}`);
  console.log(notesOf(version, read('CHANGELOG.md')));
});

/**
 * @param {string} version
 * @param {string} changelog
 */
function notesOf(version, changelog) {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => text.startsWith(`[${version}]`));
  const [, notes] = /^\[[^\]]+\] - \d{4}-\d{2}-\d{2}\n(.*)$/s.exec(section ?? '') ?? [];
  if (notes === undefined || notes.trim() === '') {
    throw new SetupError(`release-notes: CHANGELOG.md has no section '## [${version}] - <date>' with anything in it`);
  }
  return notes.trim();
}

/** @param {string} file */
function read(file) {
  return readFileSync(join(packageRoot, file), 'utf8');
}
