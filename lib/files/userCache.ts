/** The per-user folder for what can be fetched again; `scripts/libtorch/cache.mjs` keeps to the same place. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/**
 * `<cache>/ddpm-node`; `DDPM_CACHE` goes before the platform's own place. That a test holds equal to the scripts' folder:
 * these cannot import from here, since they build what is here.
 */
export function userCacheFolder(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  return join(base(env, platform), 'ddpm-node');
}

function base(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  if (env.DDPM_CACHE) return resolve(env.INIT_CWD ?? '', env.DDPM_CACHE);
  if (platform === 'win32') return env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches');
  // The XDG specification has relative paths ignored.
  return env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(homedir(), '.cache');
}
