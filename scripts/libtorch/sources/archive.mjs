import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reason, SetupError } from '../../setup/report.mjs';
import { downloadFile, putInCache } from '../cache.mjs';
import { sha256Of } from '../checksum.mjs';
import { download } from '../download.mjs';
import { unzip } from '../unzip.mjs';
import { archives } from '../versions.mjs';
import { placeArchive } from './contents.mjs';

/** Where PyTorch publishes LibTorch. */
const officialSite = 'https://download.pytorch.org/';

/**
 * LibTorch as a single file, from PyTorch's site or from what DDPM_LIBTORCH_URL names: a site laid out like it, a .zip of
 * LibTorch or a wheel of torch.
 *
 * @type {import('../locate.mjs').Source}
 */
export const archive = {
  name: 'archive',

  async find(context) {
    const wanted = choose(context);
    if ('why' in wanted) return wanted;
    try {
      return { libtorch: await setUp(context, wanted) };
    } catch (error) {
      return { why: `${wanted.url}: ${reason(error)}` };
    }
  },
};

/** @typedef {{ url: URL, sha256?: string }} Archive */

/**
 * @param {import('../locate.mjs').Context} context
 * @param {Archive} archive
 */
function setUp(context, { url, sha256 }) {
  const { folder, env, say } = context;
  return putInCache(context, async (tree) => {
    const local = url.protocol === 'file:';
    const name = decodeURIComponent(basename(url.pathname));
    const file = local ? fileURLToPath(url) : downloadFile(folder, name);
    if (sha256 === undefined) say(`${name}: no SHA-256 of it is known here; DDPM_LIBTORCH_SHA256 can give one`);
    if (local) {
      const found = sha256 && (await sha256Of(file));
      if (found !== sha256)
        throw new SetupError(`its SHA-256 is ${found}, and ${sha256} was expected: it is damaged or another file`);
    } else {
      say(`downloading ${url}`);
      await fetchWhole(url, file, sha256, { env, say });
    }
    say(`unpacking ${file}`);
    try {
      await unzip(file, tree, placeArchive);
    } finally {
      // Once unpacked it has served; and where it cannot be unpacked it must not be taken for good the next time.
      if (!local) await rm(file, { force: true });
    }
  });
}

/**
 * Downloads an archive and checks it, unless an earlier call was stopped when it had. Where some of it came from one, a
 * wrong sum may be that part's fault: then all of it is fetched again.
 *
 * @param {URL} url
 * @param {string} file
 * @param {string | undefined} sha256
 * @param {import('../download.mjs').Options} options
 */
async function fetchWhole(url, file, sha256, options) {
  if (existsSync(file)) {
    if (sha256 !== undefined && (await sha256Of(file)) === sha256) return;
    await rm(file, { force: true });
  }
  for (;;) {
    const { resumed } = await download(url, file, options);
    if (sha256 === undefined) return;
    const found = await sha256Of(file);
    if (found === sha256) return;
    await rm(file, { force: true });
    const wrong = `its SHA-256 is ${found}, and ${sha256} was expected: it was damaged or replaced on the way`;
    if (!resumed) throw new SetupError(wrong);
    options.say(`${wrong}; fetching all of it again`);
  }
}

/**
 * @param {import('../locate.mjs').Context} context
 * @returns {Archive | { why: string }}
 */
function choose({ env, platform, arch, variant, needed }) {
  const site = env.DDPM_LIBTORCH_URL || officialSite;
  if (!URL.canParse(site) || !/^(https?|file):$/.test(new URL(site).protocol)) {
    throw new SetupError(`DDPM_LIBTORCH_URL: expected an https://, http:// or file:// URL, got '${site}'`);
  }
  const asked = env.DDPM_LIBTORCH_SHA256 || undefined;
  if (asked !== undefined && !/^[0-9a-f]{64}$/i.test(asked)) {
    throw new SetupError(`DDPM_LIBTORCH_SHA256: expected 64 hexadecimal digits, got '${asked}'`);
  }
  const sha256 = asked?.toLowerCase();
  if (/\.(zip|whl)$/.test(site)) {
    const url = new URL(site);
    const known = Object.values(archives).find(({ path }) => basename(path) === encoded(basename(url.pathname)));
    return { url, sha256: sha256 ?? known?.sha256 };
  }
  const published = archives[`${platform}-${arch}-${variant}`];
  if (published === undefined) return { why: `there is none for ${platform}-${arch} (${variant})` };
  if (needed && platform === 'linux' && !published.path.endsWith('.whl')) {
    return { why: 'the one that is published has libraries of other names than the prebuilt addon is linked with' };
  }
  return { url: new URL(published.path, site.replace(/\/?$/, '/')), sha256: sha256 ?? published.sha256 };
}

/** @param {string} name of a file in an address, with or without the sign `+` written as PyTorch's site does */
function encoded(name) {
  return name.replaceAll('+', '%2B');
}
