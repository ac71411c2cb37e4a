/** A server of one archive on the loopback that knows ranges, counts, and can be slow or send a wrong byte. */

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes that a slow server sends at once, with 20 ms between. */
const slowPiece = 2 << 20;

/**
 * @param {string} archive
 * @returns {Promise<ArchiveServer>}
 */
export async function serveArchive(archive) {
  const { size } = statSync(archive);
  const state = { requests: 0, bytes: 0, slow: false, damaged: false };
  const server = createServer(async (request, response) => {
    state.requests++;
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      etag: '"one"',
      'content-length': size - start,
      ...(start > 0 && { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
    });
    let at = start;
    const touch = new Transform({
      async transform(chunk, _encoding, done) {
        if (state.damaged && at === start) chunk[chunk.length - 1] ^= 1;
        at += chunk.length;
        state.bytes += chunk.length;
        if (state.slow) await sleep(20);
        done(null, chunk);
      },
    });
    const content = createReadStream(archive, { start, highWaterMark: slowPiece });
    await pipeline(content, touch, response).catch(() => {});
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    state,
    size,
    url: `http://127.0.0.1:${port}/libtorch.zip`,
    close: () => server.close().closeAllConnections(),
  };
}

/**
 * @typedef {object} ArchiveServer
 * @property {string} url
 * @property {number} size
 * @property {{ requests: number, bytes: number, slow: boolean, damaged: boolean }} state counts, and how it is to behave
 * @property {() => void} close
 */
