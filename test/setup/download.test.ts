/** One large file over HTTP: what breaks off is gone on from, what is wrong is not taken, and proxies are used. */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { evaluate, libtorchFiles, temporaryFolder, zip } from './helpers';

interface Site {
  url: string;
  close: () => Promise<void>;
  /** Every request, as its line and its range. */
  log: string[];
}

function serve(listener: RequestListener, onConnect?: (request: IncomingMessage) => string): Promise<Site> {
  const log: string[] = [];
  const server = createServer((request, response) => {
    log.push([request.method, request.url, request.headers.range].filter(Boolean).join(' '));
    listener(request, response);
  });
  server.on('connect', (request: IncomingMessage, socket) => {
    log.push(`CONNECT ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    socket.end(onConnect?.(request) ?? 'HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  return new Promise((resolve) => {
    const close = () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    listening(server).then((port) => resolve({ url: `http://127.0.0.1:${port}`, close, log }));
  });
}

/** Downloads into a folder, in a process of its own; gives what was said, or `{ error }`. */
function download(url: string, file: string, env: NodeJS.ProcessEnv = {}) {
  const program = `{
    const lines = [];
    const say = (line) => lines.push(line);
    const { resumed } = await module.download(new URL(${JSON.stringify(url)}), ${JSON.stringify(file)}, { env: process.env, say });
    return { resumed, lines };
  }`;
  return evaluate<{ resumed?: boolean; lines?: string[]; error?: string }>('libtorch/download.mjs', program, env);
}

const content = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));

/** Sends the content from where it is asked for, with a validator; `broken` says after how many bytes to break off. */
function ranged(broken: () => number | undefined, etag = () => '"1"'): RequestListener {
  return (request, response) => {
    const asked = request.headers['if-range'] === etag() ? /^bytes=(\d+)-/.exec(request.headers.range ?? '') : null;
    const start = Number(asked?.[1] ?? 0);
    response.writeHead(asked ? 206 : 200, {
      etag: etag(),
      'content-length': content.length - start,
      ...(asked && { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
    });
    const cut = broken();
    if (cut === undefined) response.end(content.subarray(start));
    else response.write(content.subarray(start, start + cut), () => setTimeout(() => response.destroy(), 50));
  };
}

test('a connection that breaks is taken up where it broke', async () => {
  const cuts = [300, 400];
  const site = await serve(ranged(() => cuts.shift()));
  const file = join(temporaryFolder(), 'file');
  const done = await download(`${site.url}/a`, file);
  await site.close();
  expect(done).toEqual({ resumed: false, lines: expect.arrayContaining(['100 % of 0.0 MB']) });
  expect(site.log).toEqual(['GET /a', 'GET /a bytes=300-', 'GET /a bytes=700-']);
  expect(readFileSync(file)).toEqual(content);
});

test('so is one of an earlier call, unless what the server has is another by now', async () => {
  let etag = '"1"';
  const site = await serve(
    ranged(
      () => undefined,
      () => etag,
    ),
  );
  const folder = temporaryFolder();
  const file = join(folder, 'file');
  writeFileSync(`${file}.part`, content.subarray(0, 250));
  writeFileSync(`${file}.part.json`, JSON.stringify({ url: `${site.url}/a`, validator: '"1"' }));
  expect(await download(`${site.url}/a`, file)).toMatchObject({ resumed: true, lines: expect.anything() });
  expect(site.log).toEqual(['GET /a bytes=250-']);
  expect(readFileSync(file)).toEqual(content);

  writeFileSync(`${file}.part`, 'of another file');
  writeFileSync(`${file}.part.json`, JSON.stringify({ url: `${site.url}/a`, validator: '"1"' }));
  etag = '"2"';
  await download(`${site.url}/a`, file);
  await site.close();
  expect(readFileSync(file)).toEqual(content);
  expect(readdirSync(folder)).toEqual(['file']);
});

test('a server that is busy is asked again, one that says no is not', async () => {
  const answers = [503, 429, 200];
  const site = await serve((_, response) => response.writeHead(answers.shift() ?? 404).end('x'));
  const file = join(temporaryFolder(), 'file');
  expect((await download(`${site.url}/a`, file)).error).toBeUndefined();
  expect(site.log).toHaveLength(3);
  expect((await download(`${site.url}/b`, file)).error).toBe('HTTP 404 Not Found');
  expect(site.log).toHaveLength(4);
  await site.close();
});

describe('an archive', () => {
  const archive = zip(
    Object.entries(libtorchFiles('2.13.0')).map(([name, text]) => ({ name: `torch/${name}`, content: text })),
  );
  const right = createHash('sha256').update(archive).digest('hex');

  function locate(env: NodeJS.ProcessEnv) {
    const program = `{
      const lines = [];
      const say = (line) => lines.push(line);
      const libtorch = await module.locateLibtorch({ variant: 'cpu', asked: true, env: process.env, say, needed: ['lib'] });
      return { root: libtorch.root, lines };
    }`;
    return evaluate<{ root?: string; lines?: string[]; error?: string }>('libtorch/locate.mjs', program, {
      PATH: '/nonexistent',
      ...env,
    });
  }

  test('that has another SHA-256 is not taken, and nothing of it is kept', async () => {
    const site = await serve((_, response) => response.end(archive.subarray(1)));
    const DDPM_CACHE = temporaryFolder();
    const env = { DDPM_CACHE, DDPM_LIBTORCH_URL: `${site.url}/a.whl`, DDPM_LIBTORCH_SHA256: right.toUpperCase() };
    const { error } = await locate(env);
    await site.close();
    expect(error).toMatch(
      new RegExp(`its SHA-256 is [0-9a-f]{64}, and ${right} was expected: it was damaged or replaced`),
    );
    expect(readdirSync(join(DDPM_CACHE, 'ddpm-node'))).toEqual([]);
  });

  test('of which a wrong beginning was here already is fetched anew', async () => {
    const site = await serve((request, response) => {
      const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0);
      const range = start > 0 ? { 'content-range': `bytes ${start}-${archive.length - 1}/${archive.length}` } : {};
      response.writeHead(start > 0 ? 206 : 200, { etag: '"1"', ...range }).end(archive.subarray(start));
    });
    const DDPM_CACHE = temporaryFolder();
    const env = { DDPM_CACHE, DDPM_LIBTORCH_URL: `${site.url}/a.whl`, DDPM_LIBTORCH_SHA256: right };
    // Makes the folder, and fails since nothing can be there.
    await locate({ ...env, DDPM_LIBTORCH_URL: 'file:///nonexistent/a.whl' });
    const part = join(DDPM_CACHE, 'ddpm-node', '.download-a.whl.part');
    writeFileSync(part, 'wrong');
    writeFileSync(`${part}.json`, JSON.stringify({ url: env.DDPM_LIBTORCH_URL, validator: '"1"' }));
    const { root, lines, error } = await locate(env);
    await site.close();
    expect(error).toBeUndefined();
    expect(site.log).toEqual(['GET /a.whl bytes=5-', 'GET /a.whl']);
    expect(lines).toContainEqual(expect.stringContaining('fetching all of it again'));
    expect(existsSync(root as string)).toBe(true);
  });

  test('that was brought along is checked too, and taken where the libraries of a prebuilt addon are in it', async () => {
    const file = join(temporaryFolder(), 'torch é+cpu.whl');
    writeFileSync(file, archive);
    const env = { DDPM_CACHE: temporaryFolder(), DDPM_LIBTORCH_URL: pathToFileURL(file).href };
    expect((await locate({ ...env, DDPM_LIBTORCH_SHA256: '0'.repeat(64) })).error).toContain(`its SHA-256 is ${right}`);
    expect((await locate(env)).lines).toContainEqual(expect.stringContaining('no SHA-256 of it is known here'));
  });

  test('whose SHA-256 is no such thing is refused', async () => {
    const { error } = await locate({ DDPM_CACHE: temporaryFolder(), DDPM_LIBTORCH_SHA256: 'abc' });
    expect(error).toContain("DDPM_LIBTORCH_SHA256: expected 64 hexadecimal digits, got 'abc'");
  });
});

/** A port of this machine. */
function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** One request by way of a proxy on a port, which has 0.2 s for each byte. */
function ask(url: string, port: number) {
  const request = `module.get(new URL('${url}'), { headers: {}, env: process.env, idleTimeout: 200 })`;
  return evaluate<{ error: string }>('libtorch/proxy.cjs', request, { ALL_PROXY: `http://127.0.0.1:${port}` });
}

describe('a proxy', () => {
  test('is asked for http:// addresses, unless NO_PROXY names the host', async () => {
    const proxy = await serve((_, response) => response.end('by way of the proxy'));
    const file = join(temporaryFolder(), 'file');
    await download('http://torch.example/a', file, { HTTP_PROXY: proxy.url });
    expect(readFileSync(file, 'utf8')).toBe('by way of the proxy');
    expect(proxy.log).toEqual(['GET http://torch.example/a']);

    const site = await serve((_, response) => response.end('straight'));
    await download(`${site.url}/a`, file, { HTTP_PROXY: proxy.url, NO_PROXY: 'example.org,127.0.0.1' });
    expect(readFileSync(file, 'utf8')).toBe('straight');
    await Promise.all([proxy.close(), site.close()]);
  });

  test('is asked for a tunnel for https:// addresses, with its password, and its refusal is told', async () => {
    const proxy = await serve(
      (_, response) => response.end(),
      () => 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n',
    );
    const address = proxy.url.replace('//', '//me:a%20b@');
    const { error } = await download('https://torch.example/a', join(temporaryFolder(), 'file'), {
      HTTPS_PROXY: address,
    });
    await proxy.close();
    expect(error).toMatch(/^the proxy 127\.0\.0\.1:\d+ answers HTTP 407 Proxy Authentication Required$/);
    const credentials = Buffer.from('me:a b').toString('base64');
    expect(proxy.log[0]).toBe(`CONNECT torch.example:443 Basic ${credentials}`);
  });

  test.each([
    ['http', /^no byte came for 0\.2 s$/],
    ['https', /^the proxy 127\.0\.0\.1:\d+: no byte came for 0\.2 s$/], // no tunnel yet
  ])('that never answers is given up, for %s:// addresses', async (scheme, expected) => {
    const silent = createTcpServer();
    const { error } = await ask(`${scheme}://torch.example/a`, await listening(silent));
    silent.close();
    expect(error).toMatch(expected);
  });

  test.each(['http', 'https'])('that cannot be reached is named, for %s:// addresses', async (scheme) => {
    const gone = createTcpServer();
    const port = await listening(gone);
    await new Promise((resolve) => gone.close(resolve));
    const { error } = await ask(`${scheme}://torch.example/a`, port);
    expect(error).toMatch(/^the proxy 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  test('is spoken through, once it has opened a tunnel: TLS, with the name of the host', async () => {
    const tunnel = createServer();
    const greeting = new Promise<Buffer>((resolve) => {
      tunnel.on('connect', (_, socket) => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.once('data', (bytes) => {
          resolve(bytes);
          socket.destroy();
        });
      });
    });
    const port = await listening(tunnel);
    const { error } = await ask('https://torch.example/a', port);
    tunnel.close();
    expect(error).toMatch(/socket|TLS|ECONNRESET/);
    const bytes = await greeting;
    expect(bytes[0]).toBe(0x16); // a handshake
    expect(bytes.toString('latin1')).toContain('torch.example');
  });

  const proxyFor = (url: string, env: NodeJS.ProcessEnv) =>
    evaluate<string | { error: string } | null>(
      'libtorch/proxy.cjs',
      `module.proxyFor(new URL('${url}'), process.env)?.href`,
      env,
    );

  test.each<[string, NodeJS.ProcessEnv, string | null]>([
    ['https://a.example/', {}, null],
    ['https://a.example/', { HTTP_PROXY: 'http://p:1' }, null],
    ['https://a.example/', { https_proxy: 'p:1', HTTPS_PROXY: 'http://q:1' }, 'http://p:1/'],
    ['https://a.example/', { ALL_PROXY: 'http://p:1' }, 'http://p:1/'],
    ['https://a.example/', { npm_config_https_proxy: 'http://p:1' }, 'http://p:1/'],
    ['https://a.example/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: '.example' }, null],
    ['https://a.example/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'b.example ,*.example' }, null],
    ['https://a.example/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'a.example:80' }, 'http://p:1/'],
    ['https://a.example/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'ample' }, 'http://p:1/'],
    ['https://a.example/', { HTTPS_PROXY: 'http://p:1', no_proxy: '*' }, null],
  ])('for %s with %j is %s', async (url, env, expected) => {
    expect(await proxyFor(url, env)).toBe(expected);
  });

  test('that is none is refused', async () => {
    expect(await proxyFor('https://a.example/', { HTTPS_PROXY: 'socks5://p:1' })).toEqual({
      error: "HTTPS_PROXY: expected the http:// or https:// address of a proxy, got 'socks5://p:1'",
    });
  });
});
