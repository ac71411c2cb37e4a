/** Where a model comes from, by the options and by the environment. */
import { writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { resolveHubOptions } from '../../lib/config';
import type { DdpmError } from '../../lib/errors';
import { userCacheFolder } from '../../lib/files/userCache';
import { temporaryFolder } from '../helpers/folder';
import { evaluate } from '../setup/helpers';

const variables = ['HF_TOKEN', 'HF_ENDPOINT', 'HF_HOME', 'HF_HUB_OFFLINE', 'DDPM_CACHE', 'INIT_CWD', 'XDG_CACHE_HOME'];
let before: NodeJS.ProcessEnv;
beforeEach(() => {
  before = { ...process.env };
  for (const name of variables) delete process.env[name];
});
afterEach(() => {
  process.env = before;
});

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect((error as DdpmError).code).toBe('ERR_CONFIG');
    return (error as DdpmError).message;
  }
  throw new Error('nothing was refused');
}

test('the defaults', () => {
  const { source, load } = resolveHubOptions('google/ddpm-cifar10-32', undefined);
  const cacheDir = join(userCacheFolder(process.env, process.platform), 'hub');
  expect(source).toEqual({ repository: 'google/ddpm-cifar10-32', revision: 'main', cacheDir, offline: false });
  expect(isAbsolute(cacheDir)).toBe(true);
  expect(load).toEqual({});
});

test('the environment, and the options before it', () => {
  Object.assign(process.env, { HF_TOKEN: 'hf_env\n', HF_ENDPOINT: 'https://mirror.example/', DDPM_CACHE: 'caches' });
  const { source } = resolveHubOptions('a/b', {});
  expect(source).toMatchObject({
    token: 'hf_env',
    hubUrl: 'https://mirror.example',
    cacheDir: resolve('caches/ddpm-node/hub'),
  });
  const given = { token: 'hf_mine', hubUrl: 'http://localhost:1/x//', cacheDir: 'here' };
  expect(resolveHubOptions('a/b', given).source).toMatchObject({
    token: 'hf_mine',
    hubUrl: 'http://localhost:1/x',
    cacheDir: resolve('here'),
  });
});

test('variables that are empty count as not there', () => {
  Object.assign(process.env, { HF_TOKEN: ' ', HF_ENDPOINT: '' });
  expect(resolveHubOptions('a/b', {}).source).toMatchObject({ token: undefined, hubUrl: undefined });
});

test.each([
  ['1', true],
  ['ON', true],
  ['yes', true],
  ['True', true],
  ['0', false],
  ['', false],
  ['no', false],
])('HF_HUB_OFFLINE=%s', (value, offline) => {
  process.env.HF_HUB_OFFLINE = value;
  expect(resolveHubOptions('a/b', {}).source.offline).toBe(offline);
});

describe('HF_HOME', () => {
  const folder = temporaryFolder();
  beforeEach(() => {
    process.env.HF_HOME = folder();
  });

  test('holds the cache, unless DDPM_CACHE or the option names another', () => {
    expect(resolveHubOptions('a/b', {}).source.cacheDir).toBe(join(folder(), 'ddpm-node', 'hub'));
    process.env.DDPM_CACHE = resolve('caches');
    expect(resolveHubOptions('a/b', {}).source.cacheDir).toBe(resolve('caches/ddpm-node/hub'));
    expect(resolveHubOptions('a/b', { cacheDir: 'mine' }).source.cacheDir).toBe(resolve('mine'));
  });

  test('holds the token of a log-in, which any other goes before, for the hub of the environment', () => {
    expect(resolveHubOptions('a/b', {}).source.token).toBeUndefined();
    writeFileSync(join(folder(), 'token'), 'hf_saved\n');
    expect(resolveHubOptions('a/b', {}).source.token).toBe('hf_saved');
    expect(resolveHubOptions('a/b', { hubUrl: 'https://mirror.example' }).source.token).toBeUndefined();
    expect(resolveHubOptions('a/b', { token: 'hf_mine' }).source.token).toBe('hf_mine');
    process.env.HF_TOKEN = 'hf_env';
    expect(resolveHubOptions('a/b', {}).source.token).toBe('hf_env');
    delete process.env.HF_TOKEN;
    writeFileSync(join(folder(), 'token'), 'hf a b');
    expect(refusal(() => resolveHubOptions('a/b', {}))).toBe(
      `${join(folder(), 'token')}: expected an access token, of printable ASCII characters without spaces; its value is not shown`,
    );
  });
});

test('a wrong HF_ENDPOINT is named', () => {
  process.env.HF_ENDPOINT = 'mirror.example';
  expect(refusal(() => resolveHubOptions('a/b', {}))).toBe(
    "HF_ENDPOINT: expected an address that begins with https:// or http://, got 'mirror.example' (string)",
  );
});

test('a token that cannot be sent is refused, and not shown', () => {
  const expected = ': expected an access token, of printable ASCII characters without spaces; its value is not shown';
  expect(refusal(() => resolveHubOptions('a/b', { token: 'hf_a\nhf_b' }))).toBe(`token${expected}`);
  expect(refusal(() => resolveHubOptions('a/b', { token: '  ' }))).toBe(`token${expected}`);
  process.env.HF_TOKEN = 'hf_é';
  expect(refusal(() => resolveHubOptions('a/b', {}))).toBe(`HF_TOKEN${expected}`);
});

test.each(['owner/name', 'name', 'google/ddpm-cifar10-32', 'a.b/c_d'])('a repository: %s', (name) => {
  expect(resolveHubOptions(name, {}).source.repository).toBe(name);
});

test.each([
  '',
  './model',
  '/model',
  'a/b/c',
  'a/..',
  '../a',
  'a--b',
  'a b',
  'a/',
  '.a/b',
  'a\\b',
  'https://x/a/b',
  5,
  null,
  undefined,
])('no repository: %p', (name) => {
  expect(refusal(() => resolveHubOptions(name as string, {}))).toMatch(
    /^repository: expected 'owner\/name' as on the hub \(Ddpm\.load reads folders\), got /,
  );
});

test.each([
  ['linux', {}],
  ['linux', { XDG_CACHE_HOME: '/x' }],
  ['linux', { XDG_CACHE_HOME: 'relative' }],
  ['darwin', {}],
  ['win32', { LOCALAPPDATA: '/AppData/Local' }],
  ['linux', { DDPM_CACHE: '/mine' }],
  ['linux', { DDPM_CACHE: 'mine', INIT_CWD: '/project' }],
] as [NodeJS.Platform, NodeJS.ProcessEnv][])('the cache is where the set-up has it: %s %p', async (platform, env) => {
  const theirs = await evaluate('libtorch/cache.mjs', `module.cacheFolder(process.env, '${platform}')`, {
    HOME: homedir(),
    USERPROFILE: homedir(),
    ...env,
  });
  expect(userCacheFolder(env, platform)).toBe(theirs);
});
