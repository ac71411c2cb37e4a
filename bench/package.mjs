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

/**
 * Square RGB images of random levels.
 *
 * @param {number} count
 * @param {number} [size] Height and width.
 */
export function randomImages(count, size = 32) {
  const levels = new Uint8Array(count * size * size * 3).map((_, i) => (i * 7919 + (i >> 8) * 31) % 256);
  return ddpm.fromPixels(levels, { count, height: size, width: size, channels: 3 });
}
