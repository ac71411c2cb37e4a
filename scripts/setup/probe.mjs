/** Whether there is an addon that works. */

import { execFile } from 'node:child_process';

/**
 * Loads the addon as users will, in a process of its own: it may crash, and it cannot be unloaded.
 *
 * @param {string} root the package's folder
 * @returns {Promise<string | undefined>} why it does not load; undefined where it does
 */
export function loadProblem(root) {
  const program = `require('node-gyp-build')(process.argv[1])`;
  return new Promise((resolve) => {
    execFile(process.execPath, ['-e', program, root], { cwd: root, windowsHide: true }, (error, _stdout, stderr) => {
      if (error === null) return resolve(undefined);
      const why = /^(?:Error|TypeError): (.*)$/m.exec(stderr)?.[1];
      resolve(why ?? (error.signal ? `it crashes (${error.signal})` : error.message));
    });
  });
}
