/** What a prebuilt addon may ask of a machine, and whether it keeps to that. */

import { readFileSync } from 'node:fs';
import { Elf } from './elf.mjs';
import { deviceArchitectures } from './fatbin.mjs';

/**
 * The systems that releases are built for: glibc 2.28 and the libstdc++ of GCC 8, as in Debian 10, Ubuntu 20.04, RHEL 8
 * and whatever is newer. LibTorch itself needs the same, so nothing older could be reached. A release is built in
 * AlmaLinux 8 with its newer compilers, whose programs need no newer libraries than the system's.
 *
 * @type {Record<string, string>}
 */
export const releaseBaseline = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11' };

/** Bytes that the addon may have. A CUDA build holds its kernels once for each kind of device. */
export const sizeBudget = { cpu: 15e6, cuda: 60e6 };

/** Device code that a CUDA build holds: A100, H100, and PTX for what is newer. */
export const requiredArchitectures = ['compute_90', 'sm_80', 'sm_90'];

/**
 * @typedef {object} Requirements
 * @property {Record<string, string>} symbols the newest version that is needed of each family: `{ GLIBC: '2.34' }`
 * @property {string[]} libraries what it is linked with
 * @property {string[]} architectures of its device code; empty without CUDA
 */

/**
 * @param {string} file a Linux binary
 * @returns {Requirements}
 */
export function readRequirements(file) {
  const elf = new Elf(readFileSync(file));
  /** @type {Record<string, string>} */
  const symbols = {};
  for (const { version } of elf.versionNeeds()) {
    const [, family, number] = /^([A-Z]+)_([\d.]+)$/.exec(version) ?? [];
    if (!(family in releaseBaseline)) continue;
    if (symbols[family] === undefined || isNewer(number, symbols[family])) symbols[family] = number;
  }
  const architectures = deviceArchitectures(elf.section('.nv_fatbin'));
  return { symbols, libraries: elf.libraries(), architectures };
}

/**
 * What is wrong with a binary, a line each; empty where it keeps to everything.
 *
 * @param {object} addon
 * @param {'cpu' | 'cuda'} addon.variant
 * @param {number} addon.bytes
 * @param {Requirements} [addon.requirements] of a Linux binary
 * @param {Record<string, string>} [baseline]
 * @returns {string[]}
 */
export function complaints({ variant, bytes, requirements }, baseline = releaseBaseline) {
  const found = [];
  const budget = sizeBudget[variant];
  if (bytes >= budget) found.push(`it has ${bytes} bytes, and ${budget} is the limit`);
  if (requirements === undefined) return found;
  for (const [family, allowed] of Object.entries(baseline)) {
    const asked = requirements.symbols[family];
    if (asked !== undefined && isNewer(asked, allowed))
      found.push(`it needs ${family}_${asked}, and ${allowed} is allowed`);
  }
  if (variant === 'cuda') {
    for (const name of requiredArchitectures) {
      if (!requirements.architectures.includes(name)) found.push(`it holds no device code for ${name}`);
    }
  }
  return found;
}

/**
 * @param {string} a
 * @param {string} b
 */
function isNewer(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
