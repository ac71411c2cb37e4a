/** Whether there is an addon that works. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Loads the addon as users will, in a process of its own: it may crash, and it cannot be unloaded.
 *
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<string | undefined>} why it does not load; undefined where it does
 */
export function loadProblem(root, env = process.env) {
  // In a checkout the loader itself may still have to be compiled; what was built there lies where node-gyp-build looks.
  const loader = join(root, 'dist', 'load.js');
  const program = existsSync(loader)
    ? 'require(process.argv[1]).loadAddon(process.argv[2])'
    : "require('node-gyp-build')(process.argv[2])";
  return failureOf(program, [loader, root], root, env);
}

/**
 * The same for one file that finds its libraries by itself.
 *
 * @param {string} file
 */
export function fileProblem(file) {
  return failureOf('require(process.argv[1])', [file], dirname(file));
}

/**
 * @param {string} program for `node -e`
 * @param {string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<string | undefined>} the message of what it throws
 */
function failureOf(program, args, cwd, env = process.env) {
  const guarded = `try { ${program} } catch (error) { console.log(error.message); process.exitCode = 1; }`;
  return new Promise((resolve) => {
    execFile(process.execPath, ['-e', guarded, ...args], { cwd, env, windowsHide: true }, (error, stdout) => {
      if (error === null) return resolve(undefined);
      resolve(stdout.trim() || (error.signal ? `it crashes (${error.signal})` : error.message));
    });
  });
}
