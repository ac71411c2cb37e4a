/** The programs of `programs/`, run as processes of their own from the package's build. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Runs a program, and gives the lines that it prints.
 *
 * @param env What to set besides, such as DDPM_PLAIN.
 */
export async function printedBy(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(__dirname, 'programs', program), ...args], {
    env: { ...process.env, DDPM_PLAIN: '', ...env },
    maxBuffer: 2 ** 30,
  });
  return stdout.trimEnd();
}
