/** Requests by way of the proxy that the environment names, with any Node: its own support begins with 24.5. */

import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';

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
  if (proxy === undefined) {
    return answerTo((url.protocol === 'https:' ? https : http).request(url, { headers, agent: false }), idleTimeout);
  }
  const credentials = authorization(proxy);
  if (url.protocol === 'http:') {
    const all = { host: url.host, ...headers, ...credentials };
    return answerTo(schemeOf(proxy).request(proxy, { path: url.href, headers: all, agent: false }), idleTimeout);
  }
  const authority = `${url.hostname}:${url.port || 443}`;
  const socket = await tunnel(proxy, authority, credentials, idleTimeout);
  const createConnection = () => tls.connect({ socket, servername: url.hostname });
  return answerTo(https.request(url, { headers, agent: false, createConnection }), idleTimeout);
}

/**
 * @param {URL} proxy
 * @param {string} authority where to
 * @param {http.OutgoingHttpHeaders} credentials
 * @param {number} idleTimeout
 * @returns {Promise<import('node:net').Socket>}
 */
function tunnel(proxy, authority, credentials, idleTimeout) {
  const headers = { host: authority, ...credentials };
  const request = schemeOf(proxy).request(proxy, { method: 'CONNECT', path: authority, headers, agent: false });
  return new Promise((resolve, reject) => {
    request.on('connect', ({ statusCode, statusMessage }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new Error(`the proxy ${proxy.host} answers HTTP ${statusCode} ${statusMessage}`));
    });
    request.on('response', ({ statusCode, statusMessage }) => {
      request.destroy();
      reject(new Error(`the proxy ${proxy.host} answers HTTP ${statusCode} ${statusMessage}`));
    });
    watch(request, idleTimeout, (error) =>
      reject(new Error(`the proxy ${proxy.host}: ${error.message}`, { cause: error })),
    );
    request.end();
  });
}

/**
 * @param {http.ClientRequest} request
 * @param {number} idleTimeout
 * @returns {Promise<http.IncomingMessage>}
 */
function answerTo(request, idleTimeout) {
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    watch(request, idleTimeout, reject);
    request.end();
  });
}

/**
 * @param {http.ClientRequest} request
 * @param {number} idleTimeout
 * @param {(error: Error) => void} fail
 */
function watch(request, idleTimeout, fail) {
  request.setTimeout(idleTimeout, () => request.destroy(new Error(`no byte came for ${idleTimeout / 1000} s`)));
  request.on('error', fail);
}

/** @param {URL} url */
function schemeOf(url) {
  return url.protocol === 'https:' ? https : http;
}

/** @param {URL} proxy @returns {http.OutgoingHttpHeaders} */
function authorization({ username, password }) {
  if (!username) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
