/** The platforms that binaries are published for, and what each is called. */

import { dirname, join } from 'node:path';
import { pins } from '../libtorch/versions.mjs';

/** @typedef {import('../setup/variant.mjs').Variant} Variant */

/**
 * @typedef {object} Target
 * @property {string} name of the platform package, after the scope: `linux-x64-cpu`
 * @property {NodeJS.Platform} platform
 * @property {string} arch
 * @property {'glibc'} [libc] on Linux
 * @property {Variant} variant
 */

/** @type {Target[]} */
export const targets = [
  { name: 'linux-x64-cpu', platform: 'linux', arch: 'x64', libc: 'glibc', variant: 'cpu' },
  { name: `linux-x64-${label('cuda')}`, platform: 'linux', arch: 'x64', libc: 'glibc', variant: 'cuda' },
  { name: 'linux-arm64-cpu', platform: 'linux', arch: 'arm64', libc: 'glibc', variant: 'cpu' },
  { name: 'darwin-arm64', platform: 'darwin', arch: 'arm64', variant: 'cpu' },
  { name: 'win32-x64-cpu', platform: 'win32', arch: 'x64', variant: 'cpu' },
];

/** The platform packages' scope. */
export const scope = '@ddpm-node';

/**
 * Where `npm run prebuild` puts an addon, relative to the package: the folder, and a file name whose tags node-gyp-build
 * reads (one Node-API binary for every Node). It passes over the first tag, so where there are two it takes the CPU's.
 *
 * @param {Target} target
 */
export function prebuildPath({ platform, arch, libc, variant }) {
  const tags = [`ddpm-${label(variant)}`, 'node', 'napi', ...(libc ? [libc] : [])];
  return `prebuilds/${platform}-${arch}/${tags.join('.')}.node`;
}

/**
 * @param {string} addon an addon's file
 * @returns {string} the file beside it that says what it is
 */
export function recordPath(addon) {
  return addon.replace(/\.node$/, '.json');
}

/**
 * @param {string} addon an addon's file
 * @returns {string} the small addon beside it that sets the environment which its libraries see
 */
export function environmentPath(addon) {
  return join(dirname(addon), 'environment.node');
}

/** @param {Variant} variant `cuda13` for a LibTorch built with any CUDA 13 */
function label(variant) {
  return variant === 'cpu' ? 'cpu' : `cuda${/^cu(\d+)\d$/.exec(pins.cuda.build)?.[1]}`;
}
