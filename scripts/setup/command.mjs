/** Running other programs and finding them. */

import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * @typedef {object} Finished
 * @property {boolean} ok it ran and gave 0
 * @property {boolean} found there is such a program
 * @property {string} stdout
 * @property {string} why the line that says what went wrong; empty when ok
 */

/**
 * Runs a program to its end; never rejects.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, timeout?: number }} [options] `timeout` in milliseconds
 * @returns {Promise<Finished>}
 */
export function execute(command, args, options = {}) {
  return new Promise((resolve) => {
    execFile(command, args, { ...options, maxBuffer: 64 << 20, windowsHide: true }, (error, stdout, stderr) => {
      if (error === null) {
        resolve({ ok: true, found: true, stdout, why: '' });
      } else if (error.code === 'ENOENT') {
        resolve({ ok: false, found: false, stdout, why: 'not found' });
      } else {
        const why = error.killed ? `gave no answer in ${options.timeout} ms` : complaint(stderr) || error.message;
        resolve({ ok: false, found: true, stdout, why });
      }
    });
  });
}

/**
 * The line of a program's error output that says most: the last that calls itself an error, else the last.
 *
 * @param {string} stderr
 */
function complaint(stderr) {
  const lines = stderr.split(/\r?\n/).filter((line) => line.trim() !== '');
  return (lines.findLast((line) => /^(\w*Error|ERROR)\b/.test(line)) ?? lines.at(-1) ?? '').trim();
}

/**
 * A program's full path, searched for as a shell does.
 *
 * @param {string} name
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string | undefined}
 */
export function which(name, env = process.env) {
  const suffixes = process.platform === 'win32' ? ['.exe', '.cmd', '.bat', ''] : [''];
  const folders = /[\\/]/.test(name) ? [''] : (env.PATH ?? '').split(delimiter).filter(Boolean);
  for (const folder of folders) {
    for (const suffix of suffixes) {
      const file = folder === '' ? name + suffix : join(folder, name + suffix);
      try {
        accessSync(file, constants.X_OK);
        if (statSync(file).isFile()) return file;
      } catch {
        // Not here: the next one.
      }
    }
  }
  return undefined;
}
