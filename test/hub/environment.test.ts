/** What the environment says of the way to the hub: proxies, being offline, and another hub. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { runNode } from '../setup/helpers';
import { hubForEachTest, modelFiles, repository } from './support';

const { hub, cacheDir } = hubForEachTest();

/** A proxy that knows the tests' hub as hub.example, and its storage by the storage's own address. */
class FakeProxy {
  url = '';
  /** Lines of the requests. */
  log: string[] = [];
  /** Answers every request with this status instead of passing it on. */
  status: number | undefined;
  private server: Server | undefined;

  async start(): Promise<void> {
    this.server = createServer((incoming, response) => {
      this.log.push(`${incoming.method} ${incoming.url}`);
      if (this.status !== undefined) return void response.writeHead(this.status).end();
      const target = new URL((incoming.url as string).replace('http://hub.example', hub.url));
      const passOn = (answer: IncomingMessage) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        // What breaks off there breaks off here.
        pipeline(answer, response, () => {});
      };
      request(target, { headers: incoming.headers }, passOn).end();
    });
    this.server.on('connect', (incoming, socket) => {
      this.log.push(`CONNECT ${incoming.url}`);
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    await new Promise<void>((resolve) => this.server?.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }
}

const proxy = new FakeProxy();
beforeEach(() => proxy.start());
afterEach(async () => {
  await proxy.stop();
  proxy.log = [];
  proxy.status = undefined;
});

interface Outcome {
  values?: number[];
  code?: string;
  message?: string;
  warnings: string;
}

/** Loads in a process with this environment and no other. */
async function load(env: NodeJS.ProcessEnv, revision?: string): Promise<Outcome> {
  const args = [join(__dirname, 'programs', 'tryToLoad.cjs'), repository, cacheDir()];
  if (revision !== undefined) args.push(revision);
  const { DDPM_ADDON, LD_PRELOAD } = process.env;
  const given = Object.fromEntries(
    Object.entries({ DDPM_ADDON, LD_PRELOAD, ...env }).filter(([, value]) => value !== undefined),
  );
  const { stdout, stderr } = await runNode(args, given);
  return { ...JSON.parse(stdout), warnings: stderr };
}

const HF_ENDPOINT = 'http://hub.example';

describe('a proxy', () => {
  test('is what all requests go through', async () => {
    hub.commit(repository, modelFiles);
    const { values, warnings } = await load({ HF_ENDPOINT, HTTP_PROXY: proxy.url });
    expect([values?.length, warnings]).toEqual([8, '']);
    expect(hub.requests.length).toBeGreaterThan(5);
    expect(proxy.log).toHaveLength(hub.requests.length);
    expect(proxy.log[0]).toContain(`GET http://hub.example/api/models/${repository}/revision/main`);
    expect(proxy.log.some((line) => line.startsWith(`GET ${hub.storageUrl}/`))).toBe(true);
  });

  test('is passed by where NO_PROXY names the host', async () => {
    hub.commit(repository, modelFiles);
    const { values } = await load({ HF_ENDPOINT: hub.url, HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.1' });
    expect([values?.length, proxy.log]).toEqual([8, []]);
  });

  test('that cuts transfers is asked for the rest', async () => {
    hub.commit(repository, modelFiles);
    const cut = { done: false };
    hub.fault = ({ server }, response) => {
      if (server !== 'storage' || cut.done) return false;
      cut.done = true;
      response.writeHead(200, { 'Content-Length': 10_000_000 });
      response.write(Buffer.alloc(1000));
      setTimeout(() => response.destroy(), 200);
      return true;
    };
    expect((await load({ HF_ENDPOINT, HTTP_PROXY: proxy.url })).values).toHaveLength(8);
  });

  const host = () => new URL(proxy.url).host;

  test('that refuses is named: for http:// addresses', async () => {
    hub.commit(repository, modelFiles);
    proxy.status = 407;
    expect(await load({ HF_ENDPOINT, http_proxy: proxy.url })).toMatchObject({
      code: 'ERR_HUB',
      message: `${repository}: the hub http://hub.example (by way of the proxy ${host()}) answers with HTTP 407`,
    });
    proxy.status = 503;
    const { code, message } = await load({ HF_ENDPOINT, ALL_PROXY: proxy.url });
    expect([code, message]).toEqual([
      'ERR_NETWORK',
      expect.stringContaining(`http://hub.example (by way of the proxy ${host()}) answers with HTTP 503`),
    ]);
  });

  test('that refuses is named: for https:// addresses', async () => {
    const { code, message } = await load({ HF_ENDPOINT: 'https://hub.example', HTTPS_PROXY: proxy.url });
    expect([code, message]).toEqual([
      'ERR_NETWORK',
      expect.stringContaining(
        `from https://hub.example (by way of the proxy ${host()}) (the proxy ${host()} answers HTTP 403 Forbidden)`,
      ),
    ]);
    expect(proxy.log[0]).toBe('CONNECT hub.example:443');
  });

  test('that cannot be reached is named, and not the name of the hub that nobody could resolve', async () => {
    await proxy.stop();
    const { code, message } = await load({ HF_ENDPOINT, HTTP_PROXY: proxy.url });
    expect(code).toBe('ERR_NETWORK');
    expect(message).toMatch(new RegExp(`the proxy ${host()}: .*ECONNREFUSED`));
    expect(message).not.toMatch(/ENOTFOUND|EAI_AGAIN/);
    await proxy.start();
  });

  test('that is none is an error of the configuration', async () => {
    expect(await load({ HF_ENDPOINT, HTTP_PROXY: 'socks5://p:1' })).toMatchObject({
      code: 'ERR_CONFIG',
      message: "HTTP_PROXY: expected the http:// or https:// address of a proxy, got 'socks5://p:1'",
    });
  });
});

describe('HF_HUB_OFFLINE', () => {
  test('takes what is in the cache, asks nobody and warns of nothing', async () => {
    const commit = hub.commit(repository, modelFiles);
    const { values } = await load({ HF_ENDPOINT: hub.url });
    hub.requests = [];
    for (const revision of [undefined, commit]) {
      expect(await load({ HF_ENDPOINT: hub.url, HF_HUB_OFFLINE: '1' }, revision)).toEqual({ values, warnings: '' });
    }
    expect(hub.requests).toEqual([]);
  });

  test('is named where the cache does not do', async () => {
    hub.commit(repository, modelFiles);
    const { code, message } = await load({ HF_ENDPOINT: hub.url, HF_HUB_OFFLINE: '1' });
    expect(code).toBe('ERR_NETWORK');
    expect(message).toMatch(/HF_HUB_OFFLINE keeps from asking a hub\. The cache \S+ does not have it\./);
    expect(hub.requests).toEqual([]);
  });
});

test('HF_ENDPOINT and HF_TOKEN', async () => {
  hub.commit(repository, modelFiles, { token: 'hf_environment' });
  expect(await load({ HF_ENDPOINT: hub.url })).toMatchObject({ code: 'ERR_HUB' });
  expect((await load({ HF_ENDPOINT: hub.url, HF_TOKEN: 'hf_environment' })).values).toHaveLength(8);
});
