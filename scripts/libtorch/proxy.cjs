/**
 * Requests by way of the proxy that the environment names, with any Node: its own support begins with 24.5. The set-up
 * fetches LibTorch through here, and lib/hub/ models: a CommonJS module, which both can load.
 */

const http = require('node:http');
const https = require('node:https');

/**
 * The proxy for an address, as curl and pip choose it; what npm is set up with comes after the usual variables, for its
 * install scripts are told of it.
 *
 * @param {URL} url
 * @param {NodeJS.ProcessEnv} env HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, also in small letters
 * @returns {URL | undefined} undefined: straight there
 * @throws {Error} the variable's value is no address of a proxy that can be used
 */
function proxyFor(url, env) {
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
 * The agent that takes requests through a proxy. Loaded where there is one.
 *
 * @param {URL} proxy
 * @param {boolean} secure the request is one for https://
 * @param {AbortSignal} signal ends its attempt to connect
 */
async function agentFor(proxy, secure, signal) {
  if (secure) {
    const { HttpsProxyAgent } = await import('https-proxy-agent');
    return new HttpsProxyAgent(proxy, { signal });
  }
  const { HttpProxyAgent } = await import('http-proxy-agent');
  return new HttpProxyAgent(proxy, { signal });
}

/**
 * One GET, whatever the answer.
 *
 * @param {URL} url
 * @param {object} options
 * @param {http.OutgoingHttpHeaders} options.headers
 * @param {NodeJS.ProcessEnv} options.env
 * @param {number} options.idleTimeout milliseconds without a byte before the connection counts as dead
 * @param {AbortSignal} [options.signal] ends the request, and what is left of its answer
 * @returns {Promise<http.IncomingMessage>}
 */
async function get(url, { headers, env, idleTimeout, signal }) {
  const proxy = proxyFor(url, env);
  const secure = url.protocol === 'https:';
  const idle = `no byte came for ${idleTimeout / 1000} s`;
  // For a proxy that never answers: the request's own timer begins when it has a tunnel.
  const connecting = new AbortController();
  const agent = proxy && (await agentFor(proxy, secure, connecting.signal));
  const timer = setTimeout(() => connecting.abort(), idleTimeout);
  const request = (secure ? https : http).get(url, { headers, agent: agent ?? false, signal });
  let connected = false;
  request.on('socket', () => {
    connected = true;
    clearTimeout(timer);
  });
  request.on('close', () => {
    clearTimeout(timer);
    if (!connected) connecting.abort();
  });
  request.setTimeout(idleTimeout, () => request.destroy(new Error(idle)));
  return new Promise((resolve, reject) => {
    request.on('proxyConnect', ({ statusCode, statusText }) => {
      if (statusCode === undefined || statusCode === 200) return; // of an http:// address it is told the socket alone
      reject(new Error(`the proxy ${proxy?.host} answers HTTP ${statusCode} ${statusText}`));
      request.destroy();
    });
    request.on('response', resolve);
    request.on('error', (/** @type {NodeJS.ErrnoException} */ cause) => {
      if (connected || proxy === undefined) return reject(cause);
      const why = connecting.signal.aborted ? idle : cause.message || cause.code;
      reject(new Error(`the proxy ${proxy.host}: ${why}`, { cause }));
    });
  });
}

module.exports = { proxyFor, get };
