/** Requests by way of the proxy that the environment names, with any Node: its own support begins with 24.5. */

import http from 'node:http';
import https from 'node:https';
import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';

/**
 * The proxy for an address, as curl and pip choose it; what npm is set up with comes after the usual variables, for its
 * install scripts are told of it.
 *
 * @param {URL} url
 * @param {NodeJS.ProcessEnv} env HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, also in small letters
 * @returns {URL | undefined} undefined: straight there
 * @throws {Error} the variable's value is no address of a proxy that can be used
 */
export function proxyFor(url, env) {
  const scheme = url.protocol.slice(0, -1);
  const names = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, 'all_proxy', 'ALL_PROXY'];
  const npmNames = scheme === 'https' ? ['npm_config_https_proxy', 'npm_config_proxy'] : ['npm_config_proxy'];
  const name = [...names, ...npmNames].find((each) => env[each]);
  if (name === undefined || isExcluded(url, env.no_proxy ?? env.NO_PROXY ?? env.npm_config_noproxy ?? ''))
    return undefined;
  const value = String(env[name]);
  const address = /^\w+:\/\//.test(value) ? value : `http://${value}`;
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new Error(`${name}: expected the http:// or https:// address of a proxy, got '${value}'`);
  }
  return new URL(address);
}

/**
 * @param {URL} url
 * @param {string} list names with what is below them, separated by commas; `*` for all
 */
function isExcluded({ hostname, port, protocol }, list) {
  const actualPort = port || (protocol === 'https:' ? '443' : '80');
  return list.split(/[\s,]+/).some((entry) => {
    const [, name, onlyPort] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(entry) ?? [];
    if (entry === '*') return true;
    if (!name || (onlyPort !== undefined && onlyPort !== actualPort)) return false;
    return hostname === name || hostname.endsWith(`.${name}`);
  });
}

/**
 * One GET, whatever the answer.
 *
 * @param {URL} url
 * @param {object} options
 * @param {http.OutgoingHttpHeaders} options.headers
 * @param {NodeJS.ProcessEnv} options.env
 * @param {number} options.idleTimeout milliseconds without a byte before the connection counts as dead
 * @returns {Promise<http.IncomingMessage>}
 */
export async function get(url, { headers, env, idleTimeout }) {
  const proxy = proxyFor(url, env);
  const secure = url.protocol === 'https:';
  const idle = `no byte came for ${idleTimeout / 1000} s`;
  // For a proxy that never answers: the request's own timer begins when it has a tunnel.
  const connecting = new AbortController();
  const options = { signal: connecting.signal };
  const agent = proxy && (secure ? new HttpsProxyAgent(proxy, options) : new HttpProxyAgent(proxy, options));
  const timer = setTimeout(() => connecting.abort(), idleTimeout);
  const request = (secure ? https : http).get(url, { headers, agent: agent ?? false });
  let connected = false;
  request.on('socket', () => {
    connected = true;
    clearTimeout(timer);
  });
  request.on('close', () => clearTimeout(timer));
  request.setTimeout(idleTimeout, () => request.destroy(new Error(idle)));
  return new Promise((resolve, reject) => {
    request.on('proxyConnect', ({ statusCode, statusText }) => {
      if (statusCode === undefined || statusCode === 200) return; // of an http:// address it is told the socket alone
      reject(new Error(`the proxy ${proxy?.host} answers HTTP ${statusCode} ${statusText}`));
      request.destroy();
    });
    request.on('response', resolve);
    request.on('error', (cause) => {
      if (connected || proxy === undefined) return reject(cause);
      reject(new Error(`the proxy ${proxy.host}: ${connecting.signal.aborted ? idle : cause.message}`, { cause }));
    });
  });
}
