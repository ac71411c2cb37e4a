/** Our kernels under NVIDIA's compute-sanitizer. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { which } from '../setup/command.mjs';

/**
 * Every kernel of ours, in float32 and bfloat16, in shapes with and without remainders, looked at for accesses out of
 * bounds and for races.
 *
 * @param {import('./proofs.mjs').Context} context
 */
export async function sanitize({ root, out, logged, left }) {
  if (which('compute-sanitizer', process.env) === undefined) {
    return { status: /** @type {const} */ ('skipped'), why: 'compute-sanitizer is not installed' };
  }
  const program = [process.execPath, join(root, 'scripts', 'cuda-kit', 'every-kernel.cjs')];
  /** @type {Record<string, string>} */
  const told = {};
  let wrong = false;
  for (const tool of ['memcheck', 'racecheck']) {
    if (left() < 20) {
      told[tool] = 'no time';
      continue;
    }
    const args = ['--tool', tool, '--error-exitcode', '9', '--kernel-name', 'kernel_substring=ddpm', ...program];
    const status = await logged(tool, 'compute-sanitizer', args);
    const lines = readFileSync(join(out, `${tool}.log`), 'utf8').split('\n');
    told[tool] =
      lines.filter((line) => /SUMMARY/.test(line)).join('; ') || `exit code ${status}: ${lines.slice(0, 3).join(' ')}`;
    wrong ||= status !== 0;
  }
  const why = Object.entries(told).map(([tool, text]) => `${tool}: ${text}`);
  return { status: wrong ? /** @type {const} */ ('failed') : /** @type {const} */ ('passed'), why: why.join('; ') };
}
