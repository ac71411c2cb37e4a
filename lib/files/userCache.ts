/** The per-user folder for what can be fetched again; `scripts/libtorch/cache.mjs` keeps to the same place. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { DdpmError } from '../errors';

const NO_HOME =
  'there is no home folder to keep a cache in (HOME is not set, and the system knows none of this user); ' +
  'name a folder in DDPM_CACHE';

/**
 * `<cache>/ddpm-node`; `DDPM_CACHE` goes before the platform's own place. That a test holds equal to the scripts' folder:
 * these cannot import from here, since they build what is here.
 *
 * @throws {DdpmError} `ERR_CONFIG`: it would be in the user's home folder, and there is none.
 */
export function userCacheFolder(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  return join(base(env, platform), 'ddpm-node');
}

function base(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  if (env.DDPM_CACHE) return resolve(env.INIT_CWD ?? '', env.DDPM_CACHE);
  if (platform === 'win32') return env.LOCALAPPDATA ?? join(home(), 'AppData', 'Local');
  if (platform === 'darwin') return join(home(), 'Library', 'Caches');
  // The XDG specification has relative paths ignored.
  return env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(home(), '.cache');
}

/** The system has no entry for some users, such as those that a container is started as by their number alone. */
function home(): string {
  let folder: string;
  try {
    folder = homedir();
  } catch (cause) {
    throw new DdpmError('ERR_CONFIG', NO_HOME, { cause });
  }
  if (folder === '') throw new DdpmError('ERR_CONFIG', NO_HOME);
  return folder;
}
