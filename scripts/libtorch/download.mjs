/** Fetching one file over HTTP(S). */

import { createWriteStream } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const maxRedirects = 5;

/** Milliseconds without a byte before a connection counts as dead. */
const idleTimeout = 60_000;

/**
 * Downloads `url` to `file`. Follows redirects; proxies named in HTTPS_PROXY, HTTP_PROXY and NO_PROXY are used where
 * Node can (24.5 and newer).
 *
 * @param {URL} url
 * @param {string} file
 * @param {object} options
 * @param {NodeJS.ProcessEnv} options.env
 * @param {(line: string) => void} options.say gets a line for each tenth that has come
 * @throws {Error} in one line: the status, the network's error, or how many bytes came of how many
 */
export async function download(url, file, { env, say }) {
  const response = await request(url, env, maxRedirects);
  const total = Number(response.headers['content-length']);
  let received = 0;
  let tenths = 0;
  const count = new Transform({
    transform(chunk, _encoding, done) {
      received += chunk.length;
      if (total > 0 && Math.floor((received * 10) / total) > tenths) {
        tenths = Math.floor((received * 10) / total);
        say(`${tenths * 10} % of ${(total / 1e6).toFixed(1)} MB`);
      }
      done(null, chunk);
    },
  });
  await pipeline(response, count, createWriteStream(file)).catch((cause) => {
    throw new Error(`the connection broke after ${received} of ${total || 'unknown'} bytes (${cause.message})`, {
      cause,
    });
  });
}

/**
 * @param {URL} url
 * @param {NodeJS.ProcessEnv} env
 * @param {number} redirects how many more may follow
 * @returns {Promise<http.IncomingMessage>} a response with status 200
 */
function request(url, env, redirects) {
  const scheme = url.protocol === 'https:' ? https : http;
  // A Node that does not know `proxyEnv` passes over it.
  const agent = new scheme.Agent(/** @type {http.AgentOptions} */ ({ proxyEnv: env }));
  return new Promise((resolve, reject) => {
    const sent = scheme.get(url, { agent, timeout: idleTimeout }, (response) => {
      const { statusCode = 0, headers } = response;
      if (statusCode === 200) return resolve(response);
      response.resume();
      if (statusCode >= 300 && statusCode < 400 && headers.location) {
        if (redirects === 0) return reject(new Error(`more than ${maxRedirects} redirects`));
        return resolve(request(new URL(headers.location, url), env, redirects - 1));
      }
      reject(new Error(`HTTP ${statusCode} ${response.statusMessage}`));
    });
    sent.on('timeout', () => sent.destroy(new Error(`no byte came for ${idleTimeout / 1000} s`)));
    sent.on('error', reject);
  });
}
