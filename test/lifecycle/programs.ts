/** The programs of `programs/`, run as processes of their own from the package's build. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The package's folder. */
export const root = join(__dirname, '..', '..');

/** The environment without what jest.config.js sets for its own processes: threads and memory as users have them. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const { OMP_NUM_THREADS: _, DDPM_POISON: __, ...environment } = process.env;
  return environment;
}

/**
 * Runs a program, and reads the JSON that it prints last.
 *
 * @param wrap A command to run it by, such as a shell's that sets a limit first.
 */
export async function run<T>(
  program: string,
  args: readonly string[],
  { node = [], wrap = [] }: { node?: readonly string[]; wrap?: readonly string[] } = {},
): Promise<T> {
  const [command, ...rest] = [...wrap, process.execPath, ...node, join(__dirname, 'programs', program), ...args];
  const { stdout } = await promisify(execFile)(command, rest, { env: childEnvironment() });
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as T;
}
