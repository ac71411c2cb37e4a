/** A registry of one scope on the loopback, as npm, pnpm and yarn ask one: what is not published yet can be installed. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename } from 'node:path';

/**
 * @param {{ manifest: Record<string, any>, tarball?: string }[]} packages those without a tarball have a manifest alone,
 *   which is all that is asked of a package for another platform
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function serveRegistry(packages) {
  const files = new Map(
    packages.flatMap(({ tarball }) => (tarball ? [[basename(tarball), readFileSync(tarball)]] : [])),
  );
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '', url).pathname).slice(1);
    const file = files.get(basename(path));
    if (path.endsWith('.tgz') && file) return response.end(file);
    const found = packages.find(({ manifest }) => manifest.name === path);
    if (found === undefined) return response.writeHead(404).end('{}');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(describe(found, files, url)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/`;
  return { url, close: () => server.close().closeAllConnections() };
}

/**
 * @param {{ manifest: Record<string, any>, tarball?: string }} entry
 * @param {Map<string, Buffer>} files
 * @param {string} url
 */
function describe({ manifest, tarball }, files, url) {
  const { name, version } = manifest;
  const bytes = tarball ? files.get(basename(tarball)) : Buffer.alloc(0);
  const integrity = `sha512-${createHash('sha512')
    .update(bytes ?? '')
    .digest('base64')}`;
  const dist = { tarball: `${url}${basename(tarball ?? `${name}-none.tgz`)}`, integrity };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
}
