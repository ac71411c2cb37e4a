/** Models from a hub: Hugging Face's, or a mirror. */
import { join } from 'node:path';
import { MAX_JSON_BYTES, readJsonObject } from '../checkpoint/formats/json';
import type { HubSource } from '../config';
import { DdpmError, throwIfAborted } from '../errors';
import { writeError } from '../files/errors';
import { warn, warnOnce } from '../warn';
import { isWhole, RepositoryCache } from './cache';
import { commitOf, defaultHubUrl, isCommit, listModelFiles, type RemoteFile } from './client';
import type { Endpoint } from './http';
import { removeForgotten } from './partial';
import { Progress } from './progress';
import { selectFiles, shardsOf } from './select';
import { fetchBlob } from './transfer';

/**
 * Brings the files that a model needs into the cache, as far as they are not there.
 *
 * A commit that is in the cache is used without a request. A branch or tag is looked up; where that is not possible, for
 * want of a network, the commit that it stood for last is used, with a warning.
 *
 * @param variant The weights' variant; undefined for those without one.
 * @returns The folder of the model.
 * @throws {DdpmError} `ERR_HUB`, `ERR_NETWORK`, `ERR_CHECKPOINT`: the repository holds no such model; `ERR_IO`.
 *   {@link AbortError}.
 */
export async function downloadModel(source: HubSource, variant?: string): Promise<string> {
  throwIfAborted(source.signal);
  const { repository, revision, token, offline, signal } = source;
  const endpoint: Endpoint = {
    hubUrl: source.hubUrl ?? (await defaultHubUrl()),
    repository,
    revision,
    token,
    offline,
    signal,
  };
  const cache = new RepositoryCache(source.cacheDir, endpoint);
  try {
    return cache.snapshot(await snapshotOf(endpoint, cache, variant, source.onProgress));
  } catch (error) {
    throw writeError(error, cache.path);
  }
}

/** The commit that is to be loaded, all of whose files are in the cache. */
async function snapshotOf(
  endpoint: Endpoint,
  cache: RepositoryCache,
  variant: string | undefined,
  onProgress: HubSource['onProgress'],
): Promise<string> {
  const { revision } = endpoint;
  try {
    if (endpoint.offline)
      throw new DdpmError('ERR_NETWORK', `${endpoint.repository}: HF_HUB_OFFLINE keeps from asking a hub`);
    const commit = isCommit(revision) ? revision : await commitOf(endpoint);
    if (!(await isCached(endpoint, cache, commit, variant)))
      await download(endpoint, cache, commit, variant, onProgress);
    await noting(cache, () => cache.writeRef(revision, commit));
    return commit;
  } catch (error) {
    if (!(error instanceof DdpmError && error.code === 'ERR_NETWORK')) throw error;
    const commit = await cache.readRef(revision);
    if (commit !== undefined && (await isCached(endpoint, cache, commit, variant))) {
      if (!endpoint.offline) {
        const used = `using revision '${revision}' from the cache: commit ${commit}`;
        warn('DDPM_HUB_UNREACHABLE', `${error.message}; ${used}`);
      }
      return commit;
    }
    const advice =
      `The cache ${cache.path} does not have it. Without a network, give a 'cacheDir' that holds it, ` +
      'or load a folder with Ddpm.load()';
    throw new DdpmError('ERR_NETWORK', `${error.message}. ${advice}`, { cause: error });
  }
}

async function download(
  endpoint: Endpoint,
  cache: RepositoryCache,
  commit: string,
  variant: string | undefined,
  onProgress: HubSource['onProgress'],
): Promise<void> {
  const listing = (await cache.readListing(commit)) ?? (await listModelFiles(endpoint, commit));
  await cache.prepare();
  const files = await neededFiles(endpoint, listing, variant, async (index) => {
    await fetchBlob(endpoint, cache, commit, index, async () => {});
    return cache.blob(index);
  });
  const missing: RemoteFile[] = [];
  for (const file of files) if (!(await isWhole(cache.blob(file), file))) missing.push(file);
  const progress = new Progress(files, missing, onProgress);
  for (const file of missing) {
    await fetchBlob(endpoint, cache, commit, file, (bytes) => progress.at(file, bytes));
    await progress.done(file);
  }
  for (const file of files) await cache.place(commit, file);
  await noting(cache, async () => {
    // Last: no listing that led to an error stays.
    await cache.writeListing(commit, listing);
    await removeForgotten(cache.partials);
  });
}

/** Keeps the cache's notes. The model is there without them: a cache that cannot be written is no reason to fail. */
async function noting(cache: RepositoryCache, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const failure = writeError(error, cache.path);
    if (!(failure instanceof DdpmError && failure.code === 'ERR_IO')) throw error;
    warnOnce('DDPM_HUB_CACHE', `${failure.message}; the model is loaded all the same`);
  }
}

async function isCached(
  endpoint: Endpoint,
  cache: RepositoryCache,
  commit: string,
  variant?: string,
): Promise<boolean> {
  const listing = await cache.readListing(commit);
  if (listing === undefined) return false;
  const placeOf = ({ path }: RemoteFile) => join(cache.snapshot(commit), path);
  const isThere = (file: RemoteFile) => isWhole(placeOf(file), file);
  const files = await neededFiles(endpoint, listing, variant, async (index) =>
    (await isThere(index)) ? placeOf(index) : undefined,
  );
  if (files.length === 0) return false;
  for (const file of files) if (!(await isThere(file))) return false;
  return true;
}

/**
 * The files of a model; none where the index of its shards is not to be had.
 *
 * @param pathOf Where to read that index.
 */
async function neededFiles(
  { repository, revision }: Endpoint,
  listing: readonly RemoteFile[],
  variant: string | undefined,
  pathOf: (index: RemoteFile) => Promise<string | undefined>,
): Promise<RemoteFile[]> {
  const byPath = new Map(listing.map((file) => [file.path, file]));
  const filesOf = (paths: readonly string[]) => paths.map((path) => byPath.get(path) as RemoteFile);
  try {
    const { files, shardIndex } = selectFiles([...byPath.keys()], variant);
    for (const { path, size } of filesOf(files)) {
      if (!path.endsWith('.json') || size <= MAX_JSON_BYTES) continue;
      throw new DdpmError('ERR_CHECKPOINT', `${path}: expected at most ${MAX_JSON_BYTES} bytes, got ${size}`);
    }
    if (shardIndex === undefined) return filesOf(files);
    const index = await pathOf(byPath.get(shardIndex) as RemoteFile);
    if (index === undefined) return [];
    return filesOf([...files, ...shardsOf(shardIndex, await readJsonObject(index), [...byPath.keys()])]);
  } catch (error) {
    if (!(error instanceof DdpmError && error.code === 'ERR_CHECKPOINT')) throw error;
    throw new DdpmError('ERR_CHECKPOINT', `${repository}, revision '${revision}': ${error.message}`, { cause: error });
  }
}
