/**
 * Requests to a hub. The token goes to the hub's own origin and nowhere else, also where a redirect leads away: so
 * redirects are followed here, and the library, which sends its requests through here, is never told the token.
 */
import { DdpmError, throwIfAborted } from '../errors';
import { onAbort } from '../operation';
import { byWayOf, request } from './proxy';
import { Passing, retrying } from './retry';

/** Milliseconds without a byte before a connection counts as dead. */
const IDLE_MS = 60_000;

const MAX_REDIRECTS = 10;

/** More than any answer of the API; files are not fetched this way. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Whom to ask, what about, and as whom. */
export interface Endpoint {
  /** Without a slash at the end. */
  hubUrl: string;
  /** 'owner/name'. */
  repository: string;
  revision: string;
  token: string | undefined;
  /** Whether nothing is to be asked: what is in the cache must do. */
  offline: boolean;
  signal: AbortSignal | undefined;
}

/** A function like `fetch` for an API's requests (GET): tries again, and throws this package's errors unless the answer is right. */
export function apiFetch(endpoint: Endpoint): typeof fetch {
  return (input, init) =>
    retrying(endpoint.signal, () =>
      watched(endpoint, async (signal, alive) => {
        const response = await get(endpoint, new URL(String(input)), new Headers(init?.headers), signal);
        const chunks: Uint8Array[] = [];
        let size = 0;
        for await (const chunk of chunksOf(endpoint, response, alive)) {
          chunks.push(chunk);
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES)
            throw hubError(endpoint, `gave an answer of more than ${MAX_ANSWER_BYTES} bytes`);
        }
        const { status, headers } = response;
        return new Response(new Blob(chunks), { status, headers });
      }),
    );
}

/**
 * Runs one attempt, with an end to waiting.
 *
 * @param work Is to pass the signal on, which fires with the caller's or when nothing comes any more, and to call `alive`
 *   whenever something came.
 */
export async function watched<T>(
  endpoint: Endpoint,
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  const { signal } = endpoint;
  throwIfAborted(signal);
  const controller = new AbortController();
  const disarm = signal && onAbort(signal, () => controller.abort());
  const stalled = new Error(`nothing came for ${IDLE_MS / 1000} s`);
  const timer = setTimeout(() => controller.abort(stalled), IDLE_MS);
  try {
    return await work(controller.signal, () => timer.refresh());
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    clearTimeout(timer);
    disarm?.();
    // An answer that was not read to its end holds its connection.
    controller.abort();
  }
}

/**
 * One GET.
 *
 * @returns An answer of success, or 416 where a range was asked for.
 * @throws {DdpmError} `ERR_HUB`. {@link Passing}.
 */
export async function get(endpoint: Endpoint, url: URL, headers: Headers, signal: AbortSignal): Promise<Response> {
  const hub = new URL(endpoint.hubUrl).origin;
  let target = url;
  for (let redirects = 0; ; redirects++) {
    const sent = new Headers(headers);
    if (endpoint.token !== undefined && target.origin === hub) sent.set('authorization', `Bearer ${endpoint.token}`);
    const response = await request(target, sent, signal, IDLE_MS).catch((error: unknown) => {
      throw error instanceof DdpmError ? error : unreachable(endpoint, error);
    });
    const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
    if (location === null) {
      if (response.ok || (response.status === 416 && headers.has('range'))) return response;
      throw refusal(endpoint, response, target);
    }
    await response.body?.cancel();
    if (redirects === MAX_REDIRECTS) throw hubError(endpoint, `redirects more than ${MAX_REDIRECTS} times`);
    const next = URL.canParse(location, target.href) ? new URL(location, target) : undefined;
    if (next === undefined || !/^https?:$/.test(next.protocol)) throw hubError(endpoint, 'redirects to no address');
    target = next;
  }
}

/**
 * The body of an answer as it comes in.
 *
 * @throws {Passing} It broke off.
 */
export async function* chunksOf(endpoint: Endpoint, response: Response, alive: () => void): AsyncGenerator<Uint8Array> {
  alive();
  if (response.body === null) return;
  try {
    for await (const chunk of response.body) {
      alive();
      yield chunk;
    }
  } catch (error) {
    throw unreachable(endpoint, error);
  }
}

/** The hub did something that it should not. */
export function hubError({ hubUrl, repository }: Endpoint, what: string): DdpmError {
  return new DdpmError('ERR_HUB', `${repository}: the hub ${hubUrl}${byWayOf(hubUrl)} ${what}`);
}

function refusal(endpoint: Endpoint, response: Response, target: URL): Error {
  const { hubUrl, repository, revision, token } = endpoint;
  const { status, headers } = response;
  if (status === 408 || status === 429 || status >= 500) {
    const reason = new DdpmError(
      'ERR_NETWORK',
      `${repository}: ${target.origin}${byWayOf(target.href)} answers with HTTP ${status}`,
    );
    return new Passing(reason, retryAfter(headers.get('retry-after')));
  }
  const code = headers.get('x-error-code');
  if (target.origin !== new URL(hubUrl).origin) {
    return hubError(endpoint, `sends to ${target.origin}${byWayOf(target.href)}, which answers with HTTP ${status}`);
  }
  if (code === 'GatedRepo') {
    const advice = token === undefined ? ", then pass a token (the option 'token' or HF_TOKEN)" : '';
    return hubError(endpoint, `asks for consent (HTTP ${status}): give it on ${hubUrl}/${repository}${advice}`);
  }
  if (status === 401 || status === 403) {
    const advice =
      token === undefined
        ? "if it is a private one, pass a token (the option 'token' or HF_TOKEN)"
        : 'or the token that was given is not valid or may not read it';
    return hubError(endpoint, `knows no such repository (HTTP ${status}); ${advice}`);
  }
  if (status === 404) {
    const missing =
      code === 'RevisionNotFound' ? `revision '${revision}' of it` : 'such repository, or not this file of it';
    return hubError(endpoint, `knows no ${missing} (HTTP 404)`);
  }
  return hubError(endpoint, `answers with HTTP ${status}`);
}

/** Milliseconds to wait, from seconds or a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const pause = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return Number.isNaN(pause) ? undefined : Math.max(0, pause);
}

/** What Node's fetch throws where there is no answer, or where one breaks off, says little; its cause tells. */
function unreachable({ repository, hubUrl }: Endpoint, error: unknown): Error {
  const { message, code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  const text = `${repository}: no answer, or not all of it, from ${hubUrl}${byWayOf(hubUrl)} (${message || code})`;
  const reason = new DdpmError('ERR_NETWORK', text, { cause: error });
  // Another attempt would take as long.
  return code === 'UND_ERR_CONNECT_TIMEOUT' ? reason : new Passing(reason);
}
