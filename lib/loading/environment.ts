/** The environment that native libraries see. */

import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface NativeEnvironment {
  get(name: string): string | undefined;
  /** Undefined takes the variable away. */
  set(name: string, value: string | undefined): void;
}

/**
 * The environment of the process: in a worker, `process.env` is a copy of it that no native library sees. A small addon
 * beside the one that is to be loaded reaches it from everywhere; where there is none, `process.env` has to do.
 *
 * @param addon The file of the addon that is to be loaded.
 */
function nativeEnvironment(addon: string): NativeEnvironment {
  const file = join(dirname(realpathSync(addon)), 'environment.node');
  if (existsSync(file)) return require(file) as NativeEnvironment;
  const { env } = process;
  return {
    get: (name) => env[name],
    set: (name, value) => {
      if (value === undefined) delete env[name];
      else env[name] = value;
    },
  };
}

/**
 * Loads an addon with some variables of the environment as they must be for it, and then as they were.
 *
 * @param addon Its file.
 * @param wanted What the variables are to be, told what they are.
 */
export function withEnvironment<T>(
  addon: string,
  wanted: (get: NativeEnvironment['get']) => Record<string, string>,
  load: () => T,
): T {
  const environment = nativeEnvironment(addon);
  const variables = Object.entries(wanted(environment.get));
  const before = variables.map(([name]) => [name, environment.get(name)] as const);
  for (const [name, value] of variables) environment.set(name, value);
  try {
    return load();
  } finally {
    for (const [name, value] of before) environment.set(name, value);
  }
}
