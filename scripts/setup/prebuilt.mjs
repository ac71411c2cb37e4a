/** The prebuilt addon that came with an installed package, and LibTorch for it. */

import { existsSync } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { locateLibtorch } from '../libtorch/locate.mjs';
import { minorOf, pins } from '../libtorch/versions.mjs';
import { packageRoot } from './package.mjs';
import { reason, SetupError, say } from './report.mjs';
import { chooseVariant } from './variant.mjs';

/**
 * @typedef {object} Prebuilt
 * @property {string} file the addon's
 * @property {import('../../lib/loading/record.ts').AddonRecord} record
 */

/**
 * The prebuilt addon for this machine, found as the loader finds it; undefined where there is none, and in a checkout whose
 * TypeScript is not compiled yet.
 *
 * @param {import('./variant.mjs').Variant[]} variants best first
 * @returns {Prebuilt | undefined}
 */
export function findPrebuilt(variants) {
  const loading = join(packageRoot, 'dist', 'loading');
  if (!existsSync(loading)) return undefined;
  const require = createRequire(import.meta.url);
  const { prebuiltAddons } = require(join(loading, 'places.js'));
  const { readRecord } = require(join(loading, 'record.js'));
  for (const { file } of prebuiltAddons(packageRoot, variants)) {
    if (file !== undefined) return { file, record: readRecord(file) };
  }
  return undefined;
}

/**
 * Sets LibTorch up for a prebuilt addon, if there is one.
 *
 * @param {object} options
 * @param {string} [options.variant] value of `--variant`
 * @param {NodeJS.ProcessEnv} options.env
 * @returns {Promise<boolean>} whether there is one
 * @throws {SetupError} LibTorch could not be set up
 */
export async function setUpPrebuilt({ variant: flag, env }) {
  const { variant, asked } = await chooseVariant({ flag, env, compiling: false });
  const prebuilt = findPrebuilt(asked ? [variant] : [variant, 'cpu']);
  if (prebuilt === undefined) return false;
  const { record } = prebuilt;
  const pin = pins[record.variant];
  if (minorOf(pin.version) !== record.libtorch.abi) {
    throw new SetupError(`${prebuilt.file} is of another release: it needs LibTorch ${record.libtorch.abi}`);
  }
  const libtorch = await locateLibtorch({
    variant: record.variant,
    asked,
    env,
    say,
    needed: record.libtorch.libraries,
  });
  if (env.DDPM_LIBTORCH) await remember(libtorch.root);
  return true;
}

/**
 * Makes build/libtorch of the package lead to a LibTorch that the user named, so that it need not be named again. Where
 * the package's folder cannot be written, it must.
 *
 * @param {string} root
 */
async function remember(root) {
  const link = join(packageRoot, 'build', 'libtorch');
  try {
    await mkdir(dirname(link), { recursive: true });
    await rm(link, { force: true, recursive: true });
    await symlink(root, link, 'junction');
  } catch (error) {
    say(`${link} could not be made (${reason(error)}): set DDPM_LIBTORCH where ddpm-node is used, too`);
  }
}
