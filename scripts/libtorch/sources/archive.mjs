import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reason, SetupError } from '../../setup/report.mjs';
import { putInCache } from '../cache.mjs';
import { download } from '../download.mjs';
import { unzip } from '../unzip.mjs';
import { placeArchive } from './contents.mjs';

/** Where PyTorch publishes LibTorch's archives. */
const officialSite = 'https://download.pytorch.org/libtorch/';

/**
 * The official archive of LibTorch, from PyTorch's site or from what DDPM_LIBTORCH_URL names: a site laid out like it,
 * or a .zip.
 *
 * @type {import('../locate.mjs').Source}
 */
export const archive = {
  name: 'archive',

  async find(context) {
    const url = archiveUrl(context);
    if (url === undefined) return { why: `there is none for ${context.platform}-${context.arch}` };
    try {
      return { libtorch: await setUp(context, url) };
    } catch (error) {
      return { why: `${url}: ${reason(error)}${proxyNote(url, context.env)}` };
    }
  },
};

/**
 * @param {import('../locate.mjs').Context} context
 * @param {URL} url
 */
function setUp({ folder, platform, env, say }, url) {
  return putInCache(folder, platform, async (tree, scratch) => {
    let file;
    if (url.protocol === 'file:') {
      file = fileURLToPath(url);
    } else {
      file = join(scratch, 'libtorch.zip');
      say(`downloading ${url}`);
      await download(url, file, { env, say });
    }
    say(`unpacking ${file}`);
    await unzip(file, tree, placeArchive);
  });
}

/** @param {import('../locate.mjs').Context} context */
function archiveUrl({ env, platform, arch, pin }) {
  const site = env.DDPM_LIBTORCH_URL || officialSite;
  if (!URL.canParse(site) || !/^(https?|file):$/.test(new URL(site).protocol)) {
    throw new SetupError(`DDPM_LIBTORCH_URL: expected an https://, http:// or file:// URL, got '${site}'`);
  }
  if (site.endsWith('.zip')) return new URL(site);
  const name = archiveName(platform, arch, pin);
  return name === undefined ? undefined : new URL(`${pin.build}/${name}`, site.replace(/\/?$/, '/'));
}

/**
 * @param {NodeJS.Platform} platform
 * @param {string} arch
 * @param {import('../versions.mjs').Pin} pin
 */
function archiveName(platform, arch, { version, build }) {
  switch (`${platform}-${arch}`) {
    case 'linux-x64':
      return `libtorch-shared-with-deps-${version}%2B${build}.zip`;
    case 'win32-x64':
      return `libtorch-win-shared-with-deps-${version}%2B${build}.zip`;
    case 'darwin-arm64':
      return `libtorch-macos-arm64-${version}.zip`;
    default:
      return undefined;
  }
}

/**
 * @param {URL} url
 * @param {NodeJS.ProcessEnv} env
 */
function proxyNote(url, env) {
  const proxy = env.HTTPS_PROXY ?? env.https_proxy;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (!proxy || url.protocol !== 'https:' || major > 24 || (major === 24 && minor >= 5)) return '';
  return ` (HTTPS_PROXY is set, and this Node does not use it: Node 24.5 and newer do)`;
}
