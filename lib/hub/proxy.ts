/** Requests by way of the proxy that the environment names; where it names none for an address, Node's own `fetch`. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { DdpmError } from '../errors';

/** What the set-up of LibTorch asks the network with. It is there before any TypeScript is compiled. */
const { proxyFor, get } = require('../../scripts/libtorch/proxy.cjs') as {
  proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined;
  get(
    url: URL,
    options: { headers: Record<string, string>; env: NodeJS.ProcessEnv; idleTimeout: number; signal: AbortSignal },
  ): Promise<IncomingMessage>;
};

/** Statuses of answers that have no body, and may not be given one. */
const WITHOUT_BODY = [204, 205, 304];

/**
 * One GET, as `fetch` does it, redirects not followed.
 *
 * @throws {DdpmError} `ERR_CONFIG`: the environment names a proxy that is none. What `fetch` throws.
 */
export async function request(url: URL, headers: Headers, signal: AbortSignal, idleTimeout: number): Promise<Response> {
  if (proxyOf(url) === undefined) return fetch(url, { headers, redirect: 'manual', signal });
  try {
    const sent = { 'user-agent': 'ddpm-node', ...Object.fromEntries(headers) };
    const answer = await get(url, { headers: sent, env: process.env, idleTimeout, signal });
    const { statusCode: status = 0, rawHeaders } = answer;
    const told = new Headers();
    for (let i = 0; i < rawHeaders.length; i += 2) told.append(rawHeaders[i], rawHeaders[i + 1]);
    const body = WITHOUT_BODY.includes(status) ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
    return new Response(body, { status, headers: told });
  } catch (error) {
    throw signal.aborted ? signal.reason : new TypeError('fetch failed', { cause: error });
  }
}

/** Says by which proxy a message's address was asked, if by any. */
export function byWayOf(address: string): string {
  const proxy = proxyOf(new URL(address));
  return proxy === undefined ? '' : ` (by way of the proxy ${proxy.host})`;
}

function proxyOf(url: URL): URL | undefined {
  try {
    return proxyFor(url, process.env);
  } catch (error) {
    throw new DdpmError('ERR_CONFIG', (error as Error).message, { cause: error });
  }
}
