/** Finding LibTorch, or setting it up: every source in its order, and a report when all have failed. */

import { join } from 'node:path';
import { setupCommand } from '../setup/package.mjs';
import { reason, SetupError } from '../setup/report.mjs';
import { cacheFolder } from './cache.mjs';
import { archive } from './sources/archive.mjs';
import { earlier } from './sources/earlier.mjs';
import { environment } from './sources/environment.mjs';
import { pip } from './sources/pip.mjs';
import { python } from './sources/python.mjs';
import { pins } from './versions.mjs';

/**
 * @typedef {object} Context what every source is told
 * @property {NodeJS.ProcessEnv} env
 * @property {NodeJS.Platform} platform
 * @property {string} arch
 * @property {import('../setup/variant.mjs').Variant} variant
 * @property {boolean} asked somebody chose the variant
 * @property {import('./versions.mjs').Pin} pin
 * @property {string} folder this LibTorch's place in the cache
 * @property {string[]} [needed] for a prebuilt addon: the libraries that it is linked with, relative to LibTorch's folder
 * @property {(line: string) => void} say
 */

/**
 * @typedef {object} Source
 * @property {string} name as the report calls it
 * @property {(context: Context) => Promise<{ libtorch: import('./inspect.mjs').LibTorch } | { why: string }>} find
 */

/**
 * @param {object} options
 * @param {import('../setup/variant.mjs').Variant} options.variant
 * @param {boolean} options.asked
 * @param {NodeJS.ProcessEnv} options.env
 * @param {(line: string) => void} options.say
 * @param {string[]} [options.needed]
 * @param {NodeJS.Platform} [options.platform]
 * @param {string} [options.arch]
 * @returns {Promise<import('./inspect.mjs').LibTorch>}
 * @throws {SetupError} with every place tried, what happened there, and what to do
 */
export async function locateLibtorch({ platform = process.platform, arch = process.arch, ...options }) {
  const pin = pins[options.variant];
  const context = {
    ...options,
    platform,
    arch,
    pin,
    // Asked for only where it is needed: there may be no home folder to keep a cache in.
    get folder() {
      return join(cacheFolder(options.env, platform), `libtorch-${pin.version}-${options.variant}`);
    },
  };

  /** @type {{ name: string, why: string }[]} */
  const tried = [];
  for (const source of order(options)) {
    const found = await source.find(context).catch((error) => {
      if (source === environment) throw error;
      return { why: reason(error) };
    });
    if ('libtorch' in found) {
      options.say(`LibTorch ${found.libtorch.version} from ${source.name}: ${found.libtorch.root}`);
      return found.libtorch;
    }
    options.say(`${source.name}: ${indented(found.why, 4)}`);
    tried.push({ name: source.name, why: found.why });
  }
  throw new SetupError(failure(context, tried));
}

/**
 * What costs nothing first, then what downloads. An archive that the user names goes before what nobody named. A prebuilt
 * addon is for those without tools: no torch of a Python's, which may be changed any day, and pip is the last resort.
 *
 * @param {Pick<Context, 'env' | 'needed'>} context
 * @returns {Source[]}
 */
function order({ env, needed }) {
  if (needed) return [environment, earlier, archive, pip];
  return [environment, earlier, python, ...(env.DDPM_LIBTORCH_URL ? [archive, pip] : [pip, archive])];
}

/**
 * @param {Context} context
 * @param {{ name: string, why: string }[]} tried
 */
function failure({ pin, variant, folder, needed }, tried) {
  const remedies = [
    `unpack ${needed ? `the wheel of torch ${pin.version}+${pin.build}` : `LibTorch ${pin.version} (https://pytorch.org/get-started/locally)`} and name its folder ${needed ? 'torch ' : ''}in DDPM_LIBTORCH`,
    `install Python with pip (Debian, Ubuntu: sudo apt-get install python3-pip), or pip install torch==${pin.version}`,
    'name a mirror, or the https:// or file:// URL of an archive, in DDPM_LIBTORCH_URL; behind a proxy, set HTTPS_PROXY',
  ];
  if (variant === 'cuda') remedies.push('set DDPM_VARIANT=cpu to do without CUDA');
  return [
    `LibTorch ${pin.version} (${variant}) was not found and could not be set up in ${folder}. Tried, in this order:`,
    ...tried.map(({ name, why }, i) => `  ${i + 1}. ${name}: ${indented(why, 5)}`),
    `Do one of these, then run ${setupCommand}:`,
    ...remedies.map((remedy) => `  - ${remedy}`),
  ].join('\n');
}

/**
 * @param {string} text
 * @param {number} width before each line but the first
 */
function indented(text, width) {
  return text.replaceAll('\n', `\n${' '.repeat(width)}`);
}
