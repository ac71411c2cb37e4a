/** Options of loading a model from the hub. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { userCacheFolder } from '../files/userCache';
import { hubDefaults } from './defaults';
import { loadSchema } from './fields';
import { configError, invalidOption } from './messages';
import { allow, callback, type Fields, options, parseOptions, withDefaults } from './schema';
import type { HubOptions, HubProgress, LoadOptions } from './types';

const HUB_URL = 'an address that begins with https:// or http://';

const hubSchema = options({
  // What Git allows in names of branches and tags, as far as it is ASCII.
  revision: allow(
    'the name of a branch or tag, or a commit',
    z.custom<string>(
      (value) => typeof value === 'string' && /^\w[\w./+@-]{0,127}$/.test(value) && !/\.\.|\/\/|@\{|[./]$/.test(value),
    ),
  ),
  cacheDir: allow(
    'the path of a folder',
    z.custom<string>((value) => typeof value === 'string' && value !== '' && !value.includes('\0')),
  ),
  token: allow('a string that is not empty', z.string().min(1)),
  hubUrl: allow(HUB_URL, z.custom<string>(isHubUrl)),
  onProgress: callback<(progress: HubProgress) => void>(),
} satisfies Fields<Omit<HubOptions, keyof LoadOptions>>);

const schema = allow('an object', z.strictObject({ ...loadSchema.shape, ...hubSchema.shape }));

/** Where a model comes from. */
export interface HubSource {
  /** 'owner/name'. */
  repository: string;
  revision: string;
  /** Absolute. */
  cacheDir: string;
  token: string | undefined;
  /** Without a slash at the end; undefined for the hub that the library knows. */
  hubUrl: string | undefined;
  /** Whether nothing is to be asked. */
  offline: boolean;
  onProgress: HubOptions['onProgress'];
  signal: AbortSignal | undefined;
}

/**
 * Arguments of `Ddpm.fromHub(repository, options)`: where the model comes from, and how it is to be loaded.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveHubOptions(
  repository: string,
  given: HubOptions | undefined,
): { source: HubSource; load: LoadOptions } {
  checkRepository(repository);
  const { revision, cacheDir, token, hubUrl, onProgress, ...load } = parseOptions(
    schema,
    given === undefined ? {} : given,
    'options',
  );
  const source: HubSource = {
    repository,
    ...withDefaults({ revision }, hubDefaults),
    cacheDir: resolve(cacheDir ?? cacheFolder(process.env)),
    token:
      checkedToken(token === undefined ? 'HF_TOKEN' : 'token', token ?? process.env.HF_TOKEN) ??
      (hubUrl === undefined ? savedToken(process.env) : undefined),
    offline: isOn(process.env.HF_HUB_OFFLINE),
    hubUrl: (hubUrl ?? endpointOf(process.env.HF_ENDPOINT))?.replace(/\/+$/, ''),
    onProgress,
    signal: load.signal,
  };
  return { source, load };
}

function checkRepository(repository: unknown): void {
  const name = /^(?!.*(?:--|\.\.))\w[\w.-]{0,95}(?:\/\w[\w.-]{0,95})?$/;
  if (typeof repository === 'string' && name.test(repository)) return;
  throw invalidOption('repository', "'owner/name' as on the hub (Ddpm.load reads folders)", repository);
}

/** A token from a file often has a line end. No message shows what was given. */
function checkedToken(name: string, given: string | undefined): string | undefined {
  const token = given?.trim();
  if (token === undefined || (token === '' && name === 'HF_TOKEN')) return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw configError(
    `${name}: expected an access token, of printable ASCII characters without spaces; its value is not shown`,
  );
}

/** Files of ours and of Python's library are laid out in different ways, so each has a folder of its own. */
function cacheFolder(env: NodeJS.ProcessEnv): string {
  if (env.HF_HOME && !env.DDPM_CACHE) return join(env.HF_HOME, 'ddpm-node', 'hub');
  return join(userCacheFolder(env, process.platform), 'hub');
}

/** The token of `hf auth login`, in the folder that HF_HOME names. It is for the hub of the environment. */
function savedToken(env: NodeJS.ProcessEnv): string | undefined {
  if (!env.HF_HOME) return undefined;
  const file = join(env.HF_HOME, 'token');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // Who has not logged in has none.
    return undefined;
  }
  return text.trim() === '' ? undefined : checkedToken(file, text);
}

/** As Python's library reads its switches. */
function isOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '');
}

function endpointOf(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (!isHubUrl(value)) throw invalidOption('HF_ENDPOINT', HUB_URL, value);
  return value;
}

function isHubUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) && username + password + search + hash === '';
}
