/** What a hub tells of a repository, and its files. */
import { AbortError, DdpmError } from '../errors';
import { apiFetch, type Endpoint, get, hubError } from './http';
import { isModelFile } from './select';

/** Far more than any repository of a model holds. */
const MAX_FILES = 100_000;

/** A file of one commit. */
export interface RemoteFile {
  /** Within the repository. */
  path: string;
  /** In bytes. */
  size: number;
  /** SHA-256 of the contents of a large file; of a small one Git's id, which is SHA-1 over a header and the contents. */
  oid: string;
}

/** Node's own import, so that whoever loads no model from a hub does not wait for the library. */
const library = () => import('@huggingface/hub');

/** The address of Hugging Face's hub. */
export async function defaultHubUrl(): Promise<string> {
  return (await library()).HUB_URL;
}

/**
 * The commit that the branch or tag stands for.
 *
 * @throws {DdpmError} `ERR_HUB`, `ERR_NETWORK`. {@link AbortError}.
 */
export async function commitOf(endpoint: Endpoint): Promise<string> {
  const { revision } = endpoint;
  const { sha } = await asking(endpoint, async ({ modelInfo }, shared) =>
    modelInfo({ ...shared, name: endpoint.repository, revision, additionalFields: ['sha'] }),
  );
  if (!isCommit(sha)) throw hubError(endpoint, `tells no commit of revision '${revision}'`);
  return sha;
}

/** Whether a revision is a commit's full name, which never comes to mean anything else. */
export function isCommit(revision: unknown): revision is string {
  return typeof revision === 'string' && /^[0-9a-f]{40}$/.test(revision);
}

/**
 * The files of a commit that can be part of a model.
 *
 * @throws {DdpmError} `ERR_HUB`, `ERR_NETWORK`. {@link AbortError}.
 */
export async function listModelFiles(endpoint: Endpoint, commit: string): Promise<RemoteFile[]> {
  return asking(endpoint, async ({ listFiles }, shared) => {
    const repo = { type: 'model', name: endpoint.repository } as const;
    const files: RemoteFile[] = [];
    let count = 0;
    for await (const { type, path, size, oid, lfs } of listFiles({
      ...shared,
      repo,
      revision: commit,
      recursive: true,
    })) {
      if (++count > MAX_FILES) throw hubError(endpoint, `lists more than ${MAX_FILES} files`);
      if (type !== 'file' || typeof path !== 'string' || !isModelFile(path)) continue;
      const file = lfs ? { path, size: lfs.size, oid: lfs.oid } : { path, size, oid };
      if (!isRemoteFile(file)) throw hubError(endpoint, `lists ${path} without its size or checksum`);
      files.push(file);
    }
    return files;
  });
}

/** Whether this is a file as the hub should list it. The id becomes a file name. */
export function isRemoteFile(file: { path?: unknown; size?: unknown; oid?: unknown }): file is RemoteFile {
  const { path, size, oid } = file;
  return (
    typeof path === 'string' &&
    isModelFile(path) &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof oid === 'string' &&
    /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(oid)
  );
}

/**
 * Asks for a file's contents from a byte on. The address is the one that stays: the hub redirects from it to one that is
 * signed and soon expires, so every attempt has to begin here.
 *
 * @returns An answer with status 200 (all of it), 206, or 416 (there is nothing from this byte on).
 */
export function requestFile(
  endpoint: Endpoint,
  commit: string,
  { path }: RemoteFile,
  from: number,
  signal: AbortSignal,
): Promise<Response> {
  const url = new URL(`${endpoint.hubUrl}/${endpoint.repository}/resolve/${commit}/${path}`);
  // Compressed, a server would leave the range aside.
  const headers = new Headers({ 'accept-encoding': 'identity' });
  if (from > 0) headers.set('range', `bytes=${from}-`);
  return get(endpoint, url, headers, signal);
}

/** Asks through the library. What it throws where an answer is of another form becomes an error of ours. */
async function asking<T>(
  endpoint: Endpoint,
  ask: (hub: Awaited<ReturnType<typeof library>>, shared: { hubUrl: string; fetch: typeof fetch }) => Promise<T>,
): Promise<T> {
  const hub = await library();
  try {
    return await ask(hub, { hubUrl: endpoint.hubUrl, fetch: apiFetch(endpoint) });
  } catch (error) {
    if (error instanceof DdpmError || error instanceof AbortError) throw error;
    const { message } = hubError(endpoint, `gives no proper answer: ${(error as Error).message}`);
    throw new DdpmError('ERR_HUB', message, { cause: error });
  }
}
