/** Loading from a hub: what is asked for, what is kept, what is told. */
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type HubProgress } from '../../lib';
import { failure, treeOf } from '../helpers/folder';
import {
  expectedPrediction,
  hubForEachTest,
  modelFiles,
  prediction,
  repository,
  repositoryFolder,
  weights,
  weightsName,
  weightsPath,
} from './support';

const { hub, cacheDir, options } = hubForEachTest();
const needed = ['model_index.json', 'scheduler/scheduler_config.json', 'unet/config.json', weightsPath];

let warnings: string[];
beforeEach(() => {
  warnings = [];
  jest.spyOn(process, 'emitWarning').mockImplementation((warning) => void warnings.push(String(warning)));
});
afterEach(() => jest.restoreAllMocks());

/** Loads, and says what the network says. */
const predicted = async (more = {}) => prediction(await Ddpm.fromHub(repository, options(more)));

test('fetches what the model needs, once, and loads it', async () => {
  const commit = hub.commit(repository, modelFiles);
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(hub.transfers().sort()).toEqual(
    ['config.json all', 'model_index.json all', 'scheduler_config.json all', `${weightsName} all`].sort(),
  );

  const folder = repositoryFolder(cacheDir());
  expect(Object.keys(treeOf(join(folder, 'snapshots', commit))).sort()).toEqual([...needed].sort());
  for (const path of needed) expect(readFileSync(join(folder, 'snapshots', commit, path))).toEqual(modelFiles[path]);
  expect(treeOf(join(folder, 'partials'))).toEqual({});
  expect(readFileSync(join(folder, 'refs/main'), 'utf8')).toBe(commit);
  expect(warnings).toEqual([]);
});

test('the options of load() are passed on', async () => {
  hub.commit(repository, modelFiles);
  const ddpm = await Ddpm.fromHub(repository, options({ seed: 5, optimizer: { learningRate: 3e-5 } }));
  expect([ddpm.config.seed, ddpm.config.optimizer.learningRate, ddpm.device]).toEqual([5, 3e-5, 'cpu']);
  await ddpm.dispose();
});

test('a second call asks for the commit and nothing else', async () => {
  hub.commit(repository, modelFiles);
  const first = await predicted();
  hub.requests = [];
  expect(await predicted()).toEqual(first);
  expect(hub.requests.map(({ path }) => path)).toEqual([`/api/models/${repository}/revision/main`]);
});

test('a commit that is in the cache makes no request', async () => {
  const commit = hub.commit(repository, modelFiles);
  const first = await predicted();
  hub.requests = [];
  expect(await predicted({ revision: commit })).toEqual(first);
  expect(hub.requests).toEqual([]);
  expect(warnings).toEqual([]);
});

test('a commit that is not in the cache', async () => {
  const commit = hub.commit(repository, modelFiles);
  hub.commit(repository, { ...modelFiles, 'model_index.json': Buffer.from('{}') });
  expect(await predicted({ revision: commit })).toEqual(await expectedPrediction());
  expect(hub.requests.some(({ path }) => path.includes('/revision/'))).toBe(false);
});

test('branches and tags with slashes', async () => {
  hub.commit(repository, modelFiles, { ref: 'refs/pr/1' });
  hub.commit(repository, {}, { ref: 'main' });
  expect(await predicted({ revision: 'refs/pr/1' })).toEqual(await expectedPrediction());
  await hub.stop();
  expect(await predicted({ revision: 'refs/pr/1' })).toEqual(await expectedPrediction());
});

test('a new commit shares what has not changed', async () => {
  hub.commit(repository, modelFiles);
  await predicted();
  hub.requests = [];
  const index = Buffer.concat([modelFiles['model_index.json'], Buffer.from('\n')]);
  const commit = hub.commit(repository, { ...modelFiles, 'model_index.json': index });
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(hub.transfers()).toEqual(['model_index.json all']);
  expect(readFileSync(join(repositoryFolder(cacheDir()), 'snapshots', commit, 'model_index.json'))).toEqual(index);
});

test('hubs are kept apart', async () => {
  hub.commit(repository, modelFiles);
  await predicted();
  hub.requests = [];
  await predicted({ hubUrl: `${hub.url.replace('127.0.0.1', 'localhost')}/` });
  expect(hub.transfers()).toHaveLength(needed.length);
});

test('progress adds up', async () => {
  hub.commit(repository, modelFiles);
  const told: HubProgress[] = [];
  await predicted({ onProgress: (progress: HubProgress) => told.push(progress) });
  const totalBytes = needed.reduce((sum, path) => sum + modelFiles[path].length, 0);
  expect(new Set(told.map((progress) => progress.totalBytes))).toEqual(new Set([totalBytes]));
  expect(told.map(({ bytes }) => bytes)).toEqual(told.map(({ bytes }) => bytes).sort((a, b) => a - b));
  const ends = told.filter(({ fileBytes, fileTotalBytes }) => fileBytes === fileTotalBytes);
  expect(ends.map(({ file }) => file).sort()).toEqual([...needed].sort());
  for (const { file, fileTotalBytes } of told) expect(fileTotalBytes).toBe(modelFiles[file].length);
  expect(told.at(-1)?.bytes).toBe(totalBytes);

  told.length = 0;
  await predicted({ onProgress: (progress: HubProgress) => told.push(progress) });
  expect(told).toEqual([]);
});

test.each([
  [
    'throws',
    () => {
      throw new Error('mine');
    },
  ],
  ['rejects', () => Promise.reject(new Error('mine'))],
])('a callback that %s ends the call with its error', async (_, onProgress) => {
  hub.commit(repository, modelFiles);
  await expect(Ddpm.fromHub(repository, options({ onProgress }))).rejects.toThrow('mine');
});

describe('in shards', () => {
  const index = 'unet/diffusion_pytorch_model.safetensors.index.json';
  const shard = 'unet/diffusion_pytorch_model-00001-of-00001.safetensors';
  const { [weightsPath]: _, ...descriptions } = modelFiles;

  /** Loading shards is another matter: only what is fetched counts here. */
  async function fetched(weightMap: object): Promise<string> {
    const commit = hub.commit(repository, {
      ...descriptions,
      [index]: Buffer.from(JSON.stringify({ weight_map: weightMap })),
      [shard]: weights,
      'unet/diffusion_pytorch_model-00001-of-00002.safetensors': weights.subarray(1),
    });
    await Ddpm.fromHub(repository, options()).then(
      (ddpm) => ddpm.dispose(),
      (error: Error) => {
        if (!error.message.includes('safetensors')) throw error;
      },
    );
    return commit;
  }

  test('the index, and the shards that it names', async () => {
    const commit = await fetched({ a: shard.slice(5), b: shard.slice(5) });
    const snapshot = join(repositoryFolder(cacheDir()), 'snapshots', commit);
    expect(Object.keys(treeOf(snapshot)).sort()).toEqual([...needed.slice(0, 3), shard, index].sort());
    hub.requests = [];
    await fetched({ a: shard.slice(5), b: shard.slice(5) });
    expect(hub.transfers()).toEqual([]);
  });

  test('a name that leads out of the folder', async () => {
    const evil = '../../../evil.safetensors';
    hub.listing = (entries) => [...entries, { type: 'file', path: `unet/${evil}`, size: 4, oid: '0'.repeat(40) }];
    hub.commit(repository, { ...descriptions, [index]: Buffer.from(JSON.stringify({ weight_map: { a: evil } })) });
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_CHECKPOINT')).toBe(
      `${repository}, revision 'main': ${index}: names "${evil}", which the repository does not hold`,
    );
  });
});

test('paths in the listing that lead out of the folder are left alone', async () => {
  const evil = [
    '../evil',
    '../../unet/config.json',
    '/tmp/config.json',
    'unet/../../config.json',
    'unet\\..\\..\\config.json',
  ];
  hub.listing = (entries) => [
    ...evil.map((path) => ({ type: 'file', path, size: 4, oid: '0'.repeat(40) })),
    ...entries,
  ];
  const commit = hub.commit(repository, modelFiles);
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(hub.transfers()).toHaveLength(needed.length);
  const folder = join(repositoryFolder(cacheDir()), 'snapshots');
  expect(Object.keys(treeOf(folder)).sort()).toEqual(
    [`${commit}.json`, ...needed.map((path) => `${commit}/${path}`)].sort(),
  );
});

describe('a listing that is not right', () => {
  const change = (changes: object) => {
    hub.listing = (entries) =>
      entries.map((entry) =>
        (entry as { path: string }).path === 'model_index.json' ? { ...entry, ...changes } : entry,
      );
  };

  test.each([
    ['a size below 0', { size: -1 }],
    ['a size that is no number', { size: '5' }],
    ['no size', { size: undefined }],
    ['no checksum', { oid: undefined }],
    ['a checksum that is a path', { oid: '../../../../evil' }],
    ['a checksum of large contents that is a path', { lfs: { oid: '../../../../evil', size: 5, pointerSize: 1 } }],
  ])('%s', async (_, changes) => {
    hub.commit(repository, modelFiles);
    change(changes);
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toBe(
      `${repository}: the hub ${hub.url} lists model_index.json without its size or checksum`,
    );
  });

  test('JSON of a size that no configuration has', async () => {
    hub.commit(repository, modelFiles);
    change({ size: 2 ** 30 });
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_CHECKPOINT')).toBe(
      `${repository}, revision 'main': model_index.json: expected at most 67108864 bytes, got 1073741824`,
    );
    expect(hub.transfers()).toEqual([]);
  });

  test.each(['<html>', '{}', '[null]', '5'])('%s in its place', async (text) => {
    hub.commit(repository, modelFiles);
    hub.fault = ({ path }, response) => {
      if (!path.includes('/tree/')) return false;
      response.end(text);
      return true;
    };
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toMatch(
      `the hub ${hub.url} gives no proper answer: `,
    );
  });

  test('no commit', async () => {
    hub.commit(repository, modelFiles);
    hub.fault = ({ path }, response) => {
      if (!path.includes('/revision/')) return false;
      response.end('{ "sha": "../../evil" }');
      return true;
    };
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toBe(
      `${repository}: the hub ${hub.url} tells no commit of revision 'main'`,
    );
  });
});

describe('what is not there', () => {
  const message = (more = {}, name = repository) => failure(Ddpm.fromHub(name, options(more)), 'ERR_HUB');

  test('a repository', async () => {
    expect(await message()).toBe(
      `${repository}: the hub ${hub.url} knows no such repository (HTTP 401); if it is a private one, pass a token (the option 'token' or HF_TOKEN)`,
    );
    expect(await message({ token: 'hf_secret' })).toBe(
      `${repository}: the hub ${hub.url} knows no such repository, or not this file of it (HTTP 404)`,
    );
  });

  test('a revision', async () => {
    const commit = hub.commit(repository, modelFiles);
    const none = `${repository}: the hub ${hub.url} knows no revision`;
    expect(await message({ revision: 'v2' })).toBe(`${none} 'v2' of it (HTTP 404)`);
    const other = commit.replace(/./g, '1');
    expect(await message({ revision: other })).toBe(`${none} '${other}' of it (HTTP 404)`);
  });

  test('a model', async () => {
    hub.commit(repository, { 'README.md': Buffer.from('nothing') });
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_CHECKPOINT')).toBe(
      `${repository}, revision 'main': expected weights (diffusion_pytorch_model.safetensors), got none`,
    );
  });
});

describe('the token', () => {
  test('goes to the hub and to nobody else', async () => {
    hub.commit(repository, modelFiles, { token: 'hf_secret' });
    expect(await predicted({ token: ' hf_secret\n' })).toEqual(await expectedPrediction());
    const sent = (server: string) => hub.requests.filter((request) => request.server === server);
    expect(new Set(sent('hub').map(({ authorization }) => authorization))).toEqual(new Set(['Bearer hf_secret']));
    expect(sent('storage').map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('does not follow a listing to another host', async () => {
    hub.commit(repository, modelFiles);
    hub.fault = ({ server, path }, response) => {
      if (server === 'hub' && path.includes('/tree/')) {
        response.setHeader('Link', `<${hub.storageUrl}/next/page>; rel="next"`);
        response.end('[]');
        return true;
      }
      return false;
    };
    await Ddpm.fromHub(repository, options({ token: 'hf_secret' })).catch(() => {});
    const strayed = hub.requests.filter(({ server }) => server === 'storage');
    expect(strayed).toEqual([expect.objectContaining({ path: '/next/page', authorization: undefined })]);
  });

  test('comes from HF_TOKEN where none is given', async () => {
    hub.commit(repository, modelFiles, { token: 'hf_environment' });
    process.env.HF_TOKEN = 'hf_environment';
    try {
      expect(await predicted()).toEqual(await expectedPrediction());
    } finally {
      delete process.env.HF_TOKEN;
    }
  });

  test.each([
    [
      401,
      undefined,
      `knows no such repository (HTTP 401); or the token that was given is not valid or may not read it`,
    ],
    [
      403,
      undefined,
      `knows no such repository (HTTP 403); or the token that was given is not valid or may not read it`,
    ],
    [403, 'GatedRepo', `asks for consent (HTTP 403): give it on HUB/${repository}`],
  ])('refused with %d %p', async (status, code, what) => {
    hub.commit(repository, modelFiles);
    hub.fault = (_, response) => {
      if (code) response.setHeader('X-Error-Code', code);
      response.writeHead(status).end('hf_secret');
      return true;
    };
    const message = await failure(Ddpm.fromHub(repository, options({ token: 'hf_secret' })), 'ERR_HUB');
    expect(message).toBe(`${repository}: the hub ${hub.url} ${what.replace('HUB', hub.url)}`);
  });
});

describe('a hub in trouble', () => {
  /** Refuses the first `count` requests of a kind. */
  function busy(count: number, status: number, headers: Record<string, string>, kind = /./): void {
    hub.fault = ({ path }, response) => {
      if (!kind.test(path) || count-- <= 0) return false;
      response.writeHead(status, headers).end();
      return true;
    };
  }

  test.each([
    [503, {}],
    [429, { 'Retry-After': '0' }],
    [500, { 'Retry-After': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
  ])('is asked again after HTTP %d', async (status, headers) => {
    hub.commit(repository, modelFiles);
    busy(3, status, headers);
    expect(await predicted()).toEqual(await expectedPrediction());
  });

  test('also for contents', async () => {
    hub.commit(repository, modelFiles);
    busy(2, 502, { 'Retry-After': '0' }, /safetensors/);
    expect(await predicted()).toEqual(await expectedPrediction());
  });

  test('the wait that it asks for is kept to', async () => {
    hub.commit(repository, modelFiles);
    busy(1, 429, { 'Retry-After': '1' });
    const start = performance.now();
    await predicted();
    expect(performance.now() - start).toBeGreaterThan(950);
  });

  test('a long wait is told instead', async () => {
    busy(1, 429, { 'Retry-After': '3600' });
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK')).toMatch(
      `${repository}: ${hub.url} answers with HTTP 429; it asks to wait for 3600 s. The cache ${cacheDir()}`,
    );
    expect(hub.requests).toHaveLength(1);
  });

  test('is given up after four attempts', async () => {
    busy(Infinity, 503, { 'Retry-After': '0' });
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK')).toMatch('answers with HTTP 503. ');
    expect(hub.requests).toHaveLength(4);
  });

  test('redirects without end', async () => {
    hub.fault = (_, response) => {
      response.writeHead(302, { Location: '/again' }).end();
      return true;
    };
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toMatch('redirects more than 10 times');
    hub.fault = (_, response) => {
      response.writeHead(302, { Location: 'file:///etc/passwd' }).end();
      return true;
    };
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toMatch('redirects to no address');
  });
});

describe('without a network', () => {
  test('an empty cache', async () => {
    await hub.stop();
    const message = await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK');
    expect(message).toMatch(
      /^someone\/ddpm-tiny: no answer, or not all of it, from http:\S+ \(.*ECONNREFUSED.*\)\. The cache /,
    );
    expect(message).toMatch(
      /does not have it\. Without a network, give a 'cacheDir' that holds it, or load a folder with Ddpm\.load\(\)$/,
    );
  });

  test('the cache serves, with a warning that names the commit', async () => {
    const commit = hub.commit(repository, modelFiles);
    await predicted();
    await hub.stop();
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(warnings).toEqual([
      expect.stringMatching(
        new RegExp(`^${repository}: no answer.*; using revision 'main' from the cache: commit ${commit}$`),
      ),
    ]);
  });

  test('the last commit serves while a new one cannot be fetched', async () => {
    const commit = hub.commit(repository, modelFiles);
    await predicted();
    hub.commit(repository, { ...modelFiles, [weightsPath]: weights.subarray(0, 1000) });
    hub.fault = ({ server }, response) => {
      if (server === 'storage') response.destroy();
      return server === 'storage';
    };
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(warnings).toEqual([expect.stringContaining(`from the cache: commit ${commit}`)]);
  });

  test('a cache without one file does not serve', async () => {
    const commit = hub.commit(repository, modelFiles);
    await predicted();
    rmSync(join(repositoryFolder(cacheDir()), 'snapshots', commit, 'unet/config.json'));
    await hub.stop();
    await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK');
  });
});

describe('a damaged cache is mended', () => {
  test.each([
    ['a snapshot without a file', (folder: string) => rmSync(join(folder, 'unet/config.json'))],
    ['a file that was cut', (folder: string) => truncateSync(join(folder, weightsPath), 1000)],
    ['a note that is no JSON', (folder: string) => writeFileSync(`${folder}.json`, '{')],
    ['a note that is wrong', (folder: string) => writeFileSync(`${folder}.json`, '{"files": [{"path": "../x"}]}')],
    ['a revision that is no commit', (folder: string) => writeFileSync(join(folder, '../../refs/main'), '../..')],
  ])('%s', async (_, damage) => {
    const commit = hub.commit(repository, modelFiles);
    await predicted();
    damage(join(repositoryFolder(cacheDir()), 'snapshots', commit));
    expect(await predicted()).toEqual(await expectedPrediction());
    hub.requests = [];
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(hub.requests).toHaveLength(1);
  });
});

test('a cache that is a file', async () => {
  hub.commit(repository, modelFiles);
  const path = join(cacheDir(), 'file');
  writeFileSync(path, '');
  expect(await failure(Ddpm.fromHub(repository, options({ cacheDir: path })), 'ERR_IO')).toMatch(
    'could not be written: ENOTDIR',
  );
});

describe('the signal', () => {
  const reason = new Error('enough');
  const aborted = { name: 'AbortError', code: 'ABORT_ERR', cause: reason };

  test('fired before', async () => {
    hub.commit(repository, modelFiles);
    await expect(Ddpm.fromHub(repository, options({ signal: AbortSignal.abort(reason) }))).rejects.toMatchObject(
      aborted,
    );
    expect(hub.requests).toEqual([]);
  });

  test.each([
    ['an answer', /\/revision\//],
    ['a listing', /\/tree\//],
    ['contents', /safetensors/],
  ])('while %s does not come', async (_, kind) => {
    hub.commit(repository, modelFiles);
    const controller = new AbortController();
    hub.fault = ({ path }) => {
      if (!kind.test(path)) return false;
      setTimeout(() => controller.abort(reason), 50);
      return true;
    };
    await expect(Ddpm.fromHub(repository, options({ signal: controller.signal }))).rejects.toMatchObject(aborted);
  });

  test('while it waits to ask again', async () => {
    const controller = new AbortController();
    hub.fault = (_, response) => {
      response.writeHead(503, { 'Retry-After': '30' }).end();
      setTimeout(() => controller.abort(reason), 50);
      return true;
    };
    const start = performance.now();
    await expect(Ddpm.fromHub(repository, options({ signal: controller.signal }))).rejects.toMatchObject(aborted);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

test('wrong options are refused before any request', async () => {
  expect(await failure(Ddpm.fromHub('./model', options()), 'ERR_CONFIG')).toBe(
    "repository: expected 'owner/name' as on the hub (Ddpm.load reads folders), got './model' (string)",
  );
  expect(await failure(Ddpm.fromHub(repository, options({ revision: '' })), 'ERR_CONFIG')).toMatch(/^revision: /);
  expect(hub.requests).toEqual([]);
  expect(treeOf(cacheDir())).toEqual({});
});
