/** Which script npm was asked to run. */

import { readFile } from 'node:fs/promises';
import { execute } from '../setup/command.mjs';

/** npm, perhaps a shell of its, then this process. */
const generations = 4;

/**
 * The script that the npm above this process was asked for. npm runs a script `prebuild` before one called `build` too, and
 * tells it nothing of that.
 *
 * @returns {Promise<string | undefined>} `build`; undefined where there is no npm or it cannot be told
 */
export async function requestedScript() {
  let pid = process.ppid;
  for (let i = 0; i < generations && pid > 1; i++) {
    const { parent, command } = await describe(pid);
    // npm writes its own command line anew: `npm run build`.
    const asked = /\bnpm\b.*? (?:run|run-script|rum|urn) (?:-\S+ )*([\w:-]+)/.exec(command)?.[1];
    if (asked !== undefined) return asked;
    pid = parent;
  }
  return undefined;
}

/**
 * @param {number} pid
 * @returns {Promise<{ parent: number, command: string }>}
 */
async function describe(pid) {
  try {
    const [status, command] = await Promise.all(
      ['stat', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')),
    );
    // `pid (name) state parent …`, where the name may hold anything.
    const parent = Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1]);
    return { parent, command: command.replaceAll('\0', ' ') };
  } catch {
    // No Linux.
  }
  const { stdout } = await execute('ps', ['-o', 'ppid=,args=', '-p', String(pid)]);
  const [, parent = '0', command = ''] = /^\s*(\d+) (.*)$/m.exec(stdout) ?? [];
  return { parent: Number(parent), command };
}
