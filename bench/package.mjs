// The package under test, as its users load it.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

/** @type {typeof import('../lib/index.js')} */
export const ddpm = require('..');

/** The typed native side, for what is no part of the public face. @type {typeof import('../lib/binding.js')} */
export const binding = require(join(root, 'dist', 'binding.js'));

/** @type {typeof import('../lib/config/index.js')} */
export const config = require(join(root, 'dist', 'config', 'index.js'));

/** Images of random levels. @param {number} count */
export function randomImages(count) {
  const levels = new Uint8Array(count * 32 * 32 * 3).map((_, i) => (i * 7919 + (i >> 8) * 31) % 256);
  return ddpm.fromPixels(levels, { count, height: 32, width: 32, channels: 3 });
}
