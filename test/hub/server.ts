/**
 * A hub on this machine: the part of the real one's API that listing and downloading need, and a second server for large
 * files, which the hub redirects to as the real one does.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** Contents by path. */
export type Files = Record<string, Buffer>;

export interface Request {
  server: 'hub' | 'storage';
  /** Without the query. */
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

/** Answers in the server's place; what returns false leaves it to the server. */
export type Fault = (request: Request, response: ServerResponse) => boolean;

interface Repository {
  refs: Map<string, string>;
  commits: Map<string, Files>;
  /** Without it, there is no repository. */
  token: string | undefined;
}

/** Entries of one page of a listing. */
const PAGE = 3;

export class FakeHub {
  url = '';
  storageUrl = '';
  /** All requests so far. */
  requests: Request[] = [];
  /** Asked before every answer. */
  fault: Fault = () => false;
  /** What the tree says, where it shall differ from what is sent. */
  listing: (entries: object[]) => object[] = (entries) => entries;
  private readonly repositories = new Map<string, Repository>();
  private readonly servers: Server[] = [];

  async start(): Promise<void> {
    this.url = await this.listen((request, response) => this.onHub(request, response));
    this.storageUrl = await this.listen((request, response) => this.onStorage(request, response));
  }

  async stop(): Promise<void> {
    const closed = this.servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const server of this.servers) server.closeAllConnections();
    this.servers.length = 0;
    await Promise.all(closed);
  }

  /** Forgets everything. */
  reset(): void {
    this.requests = [];
    this.fault = () => false;
    this.listing = (entries) => entries;
    this.repositories.clear();
  }

  /** Makes a commit, which a branch (or tag) then stands for. */
  commit(name: string, files: Files, { ref = 'main', token }: { ref?: string; token?: string } = {}): string {
    const repository = this.repositories.get(name) ?? { refs: new Map(), commits: new Map(), token };
    this.repositories.set(name, repository);
    const hash = createHash('sha1').update(`${name} ${repository.commits.size}`);
    for (const [path, contents] of Object.entries(files)) hash.update(path).update(contents);
    const id = hash.digest('hex');
    repository.commits.set(id, files);
    repository.refs.set(ref, id);
    return id;
  }

  /** The requests for contents, as `path range`. */
  transfers(of = ''): string[] {
    const contents = this.requests.filter(({ server, path }) => server === 'storage' || /\/resolve\//.test(path));
    const large = contents.filter(({ server }) => server === 'storage');
    const small = contents.filter(({ server, path }) => server === 'hub' && !isLarge(path));
    const lines = [...large, ...small].map(({ path, range }) => `${path.split('/').at(-1)} ${range ?? 'all'}`);
    return lines.filter((line) => line.startsWith(of));
  }

  private async listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer((request, response) => answer(request, response));
    this.servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  private note(server: Request['server'], { url = '', headers }: IncomingMessage): Request {
    const path = decodeURIComponent(new URL(url, 'http://host').pathname);
    const request = { server, path, range: headers.range, authorization: headers.authorization };
    this.requests.push(request);
    return request;
  }

  private onHub(incoming: IncomingMessage, response: ServerResponse): unknown {
    const request = this.note('hub', incoming);
    if (this.fault(request, response)) return;
    const { pathname } = new URL(incoming.url ?? '', this.url);
    // A revision's slashes are encoded.
    const [, name, what, revision, file] = (
      /^\/api\/models\/(.+?)\/(revision|tree)\/([^/]+)()$/.exec(pathname) ??
      /^\/(.+?)\/(resolve)\/([^/]+)\/(.+)$/.exec(pathname) ??
      []
    ).map(decodeURIComponent);
    const repository = this.repositories.get(name);
    if (!repository || (repository.token && request.authorization !== `Bearer ${repository.token}`)) {
      return refuse(response, request.authorization ? 404 : 401, 'RepoNotFound');
    }
    const commit = repository.commits.has(revision) ? revision : repository.refs.get(revision);
    const files = repository.commits.get(commit ?? '');
    if (!commit || !files) return refuse(response, 404, 'RevisionNotFound');
    if (what === 'revision') return sendJson(response, { _id: '1', id: name, sha: commit });
    if (what === 'tree') return this.sendTree(incoming, response, files);
    const contents = files[file];
    if (!contents) return refuse(response, 404, 'EntryNotFound');
    response.setHeader('X-Repo-Commit', commit);
    if (!isLarge(file)) {
      response.setHeader('ETag', `"${gitId(contents)}"`);
      return sendContents(request, response, contents);
    }
    response.setHeader('X-Linked-Etag', `"${sha256(contents)}"`);
    response.setHeader('X-Linked-Size', contents.length);
    const location = `${this.storageUrl}/${encodeURIComponent(name)}/${commit}/${file}?signature=secret`;
    response.writeHead(302, { Location: location }).end();
  }

  private sendTree(incoming: IncomingMessage, response: ServerResponse, files: Files): void {
    const entries = Object.entries(files).map(([path, contents]) => {
      const entry = { type: 'file', path, size: contents.length, oid: gitId(contents) };
      return isLarge(path)
        ? { ...entry, lfs: { oid: sha256(contents), size: contents.length, pointerSize: 134 } }
        : entry;
    });
    const folders = [
      ...new Set(
        Object.keys(files)
          .filter((path) => path.includes('/'))
          .map((path) => path.split('/')[0]),
      ),
    ];
    const all = this.listing([
      ...folders.map((path) => ({ type: 'directory', path, size: 0, oid: gitId(Buffer.from(path)) })),
      ...entries,
    ]);
    const url = new URL(incoming.url ?? '', this.url);
    const start = Number(url.searchParams.get('cursor') ?? 0);
    if (start + PAGE < all.length) {
      url.searchParams.set('cursor', String(start + PAGE));
      response.setHeader('Link', `<${url.href}>; rel="next"`);
    }
    sendJson(response, all.slice(start, start + PAGE));
  }

  private onStorage(incoming: IncomingMessage, response: ServerResponse): void {
    const request = this.note('storage', incoming);
    if (this.fault(request, response)) return;
    // The name has one slash.
    const [, owner, name, commit, ...path] = request.path.split('/');
    const contents = this.repositories.get(`${owner}/${name}`)?.commits.get(commit)?.[path.join('/')];
    if (!contents) return void response.writeHead(404).end();
    // Its own ETag, as storage has.
    response.setHeader('ETag', `"${createHash('md5').update(contents).digest('hex')}-1"`);
    sendContents(request, response, contents);
  }
}

/** Sends a file, or the part that is asked for. */
export function sendContents({ range }: Request, response: ServerResponse, contents: Buffer): void {
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  if (range === undefined) {
    response.writeHead(200, { 'Content-Length': contents.length }).end(contents);
  } else if (from >= contents.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${contents.length}` }).end();
  } else {
    const headers = {
      'Content-Range': `bytes ${from}-${contents.length - 1}/${contents.length}`,
      'Content-Length': contents.length - from,
    };
    response.writeHead(206, headers).end(contents.subarray(from));
  }
}

/** Sends the first bytes of a file, and no more. */
export function sendPart(response: ServerResponse, contents: Buffer, bytes: number): void {
  response.writeHead(200, { 'Content-Length': contents.length });
  response.write(contents.subarray(0, bytes));
}

/** The files below a folder, with those of other names than a model has among them. */
export function filesOf(folder: string): Files {
  const files: Files = {
    '.gitattributes': Buffer.from('*.safetensors filter=lfs'),
    'README.md': Buffer.from('# A model'),
    'images/sample.png': Buffer.from('no picture'),
  };
  const visit = (prefix: string) => {
    for (const entry of readdirSync(join(folder, prefix), { withFileTypes: true })) {
      const path = prefix + entry.name;
      if (entry.isDirectory()) visit(`${path}/`);
      else files[path] = readFileSync(join(folder, path));
    }
  };
  visit('');
  return files;
}

function isLarge(path: string): boolean {
  return /\.(safetensors|bin)$/.test(path);
}

function sha256(contents: Buffer): string {
  return createHash('sha256').update(contents).digest('hex');
}

function gitId(contents: Buffer): string {
  return createHash('sha1').update(`blob ${contents.length}\0`).update(contents).digest('hex');
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.setHeader('X-Error-Code', code);
  response.statusCode = status;
  sendJson(response, { error: code });
}
