/**
 * One repository in the cache:
 *
 * - `blobs/<id>`: contents, each once, named by their checksum and whole;
 * - `partials/<id>.…`: contents that are coming in (`partial.ts`);
 * - `snapshots/<commit>/…`: the files of a commit, as links to blobs: a model's folder;
 * - `snapshots/<commit>.json`: what the hub lists of the commit, as far as it is part of a model;
 * - `refs/<revision>`: the commit that a branch or tag stood for when it was last asked for.
 */
import { createHash } from 'node:crypto';
import { copyFile, link, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readJsonObject, writeJson } from '../checkpoint/formats/json';
import { DdpmError } from '../errors';
import { writeFileAtomic } from '../files/atomic';
import { isMissing, writeError } from '../files/errors';
import { makeFolder, move, syncFile, syncFolder, temporaryFor } from '../files/folders';
import { isCommit, isRemoteFile, type RemoteFile } from './client';
import type { Endpoint } from './http';

/** Bytes of a file's name that every file system takes, with room for more. */
const LONGEST_NAME = 200;

/** The folder of a repository in the cache. */
export class RepositoryCache {
  readonly path: string;
  readonly partials: string;

  /** @param cacheDir An absolute path. Hubs are kept apart: a mirror may have other models under the same names. */
  constructor(cacheDir: string, { hubUrl, repository }: Pick<Endpoint, 'hubUrl' | 'repository'>) {
    const { host, pathname } = new URL(hubUrl);
    const hub = (host + pathname).replace(/\/$/, '').replace(/[^\w.-]+/g, '_');
    this.path = join(cacheDir, hub, `models--${repository.replace('/', '--')}`);
    this.partials = join(this.path, 'partials');
  }

  blob(file: RemoteFile): string {
    return join(this.path, 'blobs', file.oid);
  }

  snapshot(commit: string): string {
    return join(this.path, 'snapshots', commit);
  }

  /** Makes the folders that are written to. */
  async prepare(): Promise<void> {
    for (const name of ['partials', 'blobs', 'snapshots', 'refs']) await makeFolder(join(this.path, name));
  }

  /** The commit that a revision stood for; undefined where it was never asked for. */
  async readRef(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readFile(this.ref(revision), 'utf8').catch(() => undefined);
    return isCommit(text) ? text : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if ((await this.readRef(revision)) === commit) return;
    await this.prepare();
    await writeFileAtomic(this.ref(revision), (file) => file.writeFile(commit));
  }

  /** What the hub listed of a commit; undefined where that is not known, or the note of it is damaged. */
  async readListing(commit: string): Promise<RemoteFile[] | undefined> {
    try {
      const { files } = await readJsonObject(this.listing(commit));
      return Array.isArray(files) && files.every((file) => isRemoteFile(Object(file))) ? files : undefined;
    } catch (error) {
      if (error instanceof DdpmError && error.code === 'ERR_CHECKPOINT') return undefined;
      throw error;
    }
  }

  async writeListing(commit: string, files: readonly RemoteFile[]): Promise<void> {
    await writeJson(this.listing(commit), { files });
  }

  /** Puts a blob into a snapshot, as a link where the file system has them. */
  async place(commit: string, file: RemoteFile): Promise<void> {
    const target = join(this.snapshot(commit), file.path);
    if (await isWhole(target, file)) return;
    const temporary = temporaryFor(target);
    try {
      await makeFolder(dirname(target));
      await link(this.blob(file), temporary).catch(() => copyWhole(this.blob(file), temporary));
      await move(temporary, target);
      await syncFolder(dirname(target));
    } catch (error) {
      throw writeError(error, target);
    } finally {
      // Still there where two calls did the same: a rename onto another link to one file does nothing.
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  private ref(revision: string): string {
    return join(this.path, 'refs', fileNameOf(revision));
  }

  private listing(commit: string): string {
    return `${this.snapshot(commit)}.json`;
  }
}

/**
 * A file name for a branch or tag. Capitals are written otherwise, since on some file systems they are no other letters, and
 * what would be too long as a name is hashed.
 */
function fileNameOf(revision: string): string {
  const capitals = /[A-Z]/g;
  const name = encodeURIComponent(revision.replace(capitals, (letter) => `^${letter.toLowerCase()}`)).replaceAll(
    '%5E',
    '^',
  );
  return name.length <= LONGEST_NAME ? name.toLowerCase() : createHash('sha256').update(revision).digest('hex');
}

/** Whether a file is there with all its bytes: it was checked before it got its name. */
export async function isWhole(path: string, { size }: RemoteFile): Promise<boolean> {
  try {
    const stats = await stat(path);
    return stats.isFile() && stats.size === size;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function copyWhole(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  const file = await open(to, 'r+');
  try {
    await syncFile(file, to);
  } finally {
    await file.close();
  }
}
