/** Which installed packages some packages need. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/**
 * The packages and all that they depend on, as Node finds them; optional ones where they are installed.
 *
 * @param {string} root the folder with node_modules/
 * @param {string[]} names
 * @returns {string[]} folders relative to `root`, sorted
 */
export function closureOf(root, names) {
  const top = resolve(root);
  /** @type {Set<string>} */
  const found = new Set();
  /** @type {(from: string, name: string, optional: boolean) => void} */
  const add = (from, name, optional) => {
    const folder = find(top, from, name);
    if (folder === undefined) {
      if (optional) return;
      throw new Error(`${name}, which ${relative(top, from) || 'the package'} needs, is not installed`);
    }
    const place = relative(top, folder);
    if (found.has(place)) return;
    found.add(place);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8'),
    );
    for (const dependency of Object.keys(dependencies)) add(folder, dependency, dependency in optionalDependencies);
    for (const dependency of Object.keys(optionalDependencies)) add(folder, dependency, true);
  };
  for (const name of names) add(top, name, false);
  return [...found].sort();
}

/**
 * @param {string} root
 * @param {string} from
 * @param {string} name
 * @returns {string | undefined}
 */
function find(root, from, name) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (folder === root || folder === dirname(folder)) return undefined;
  }
}
