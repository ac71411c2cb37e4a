#!/usr/bin/env node
/**
 * `npm run check:prebuild`: whether the addons in `prebuilds/` keep to what releases promise: size, and on Linux the
 * oldest glibc and libstdc++, and the device code of a CUDA build. Fails with a line for each that does not.
 *
 *   --glibc, --glibcxx, --cxxabi VERSION   another baseline than the releases', such as that of the machine at hand
 *   FILE...                                these addons instead of all
 */

import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { complaints, readRequirements, releaseBaseline } from './prebuild/requirements.mjs';
import { prebuildPath, recordPath, targets } from './prebuild/targets.mjs';
import { packageRoot } from './setup/package.mjs';
import { reason, run, SetupError, say } from './setup/report.mjs';

await run(async () => {
  const { values, positionals } = readFlags();
  const baseline = Object.fromEntries(
    Object.entries(releaseBaseline).map(([family, version]) => [
      family,
      /** @type {Record<string, string | undefined>} */ (values)[family.toLowerCase()] ?? version,
    ]),
  );
  const files =
    positionals.length > 0
      ? positionals
      : targets.map((target) => join(packageRoot, prebuildPath(target))).filter(existsSync);
  if (files.length === 0) throw new SetupError('there is nothing in prebuilds/; npm run prebuild makes it');
  const failures = [];
  for (const file of files) {
    const { size: bytes } = await stat(file);
    const { platform, variant } = JSON.parse(await readFile(recordPath(file), 'utf8'));
    const requirements = platform === 'linux' ? readRequirements(file) : undefined;
    const wrong = complaints({ variant, bytes, requirements }, baseline);
    const asks = Object.entries(requirements?.symbols ?? {}).map((pair) => pair.join('_'));
    const holds = requirements?.architectures ?? [];
    say(`${relative(process.cwd(), file)}: ${[`${(bytes / 1e6).toFixed(2)} MB`, ...asks, ...holds].join(', ')}`);
    failures.push(...wrong.map((line) => `${relative(process.cwd(), file)}: ${line}`));
  }
  if (failures.length > 0) throw new SetupError(failures.join('\n'));
});

function readFlags() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { glibc: { type: 'string' }, glibcxx: { type: 'string' }, cxxabi: { type: 'string' } },
    });
  } catch (error) {
    throw new SetupError(`${reason(error)}. Known: --glibc, --glibcxx and --cxxabi with a version, and files`);
  }
}
