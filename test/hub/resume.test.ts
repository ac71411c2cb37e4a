/** Downloads that break off, that are wrong, and that happen twice at once. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ddpm, type HubProgress } from '../../lib';
import { failure, treeOf } from '../helpers/folder';
import { type Fault, type Request, sendContents, sendPart } from './server';
import {
  arrived,
  expectedPrediction,
  hubForEachTest,
  modelFiles,
  partialSizes,
  prediction,
  repository,
  repositoryFolder,
  weights,
  weightsName,
  weightsPath,
} from './support';

const { hub, cacheDir, options } = hubForEachTest();
const half = Math.floor(weights.length / 2);

const predicted = async (more = {}) => prediction(await Ddpm.fromHub(repository, options(more)));

/** What is sent of the weights the first times; after that they are sent as they are. */
function instead(...answers: ((request: Request, response: ServerResponse) => void)[]): void {
  const fault: Fault = (request, response) => {
    if (request.server !== 'storage') return false;
    const answer = answers.shift();
    answer?.(request, response);
    return answer !== undefined;
  };
  hub.fault = fault;
}

/** The bytes from which each transfer of the weights was asked for. */
function starts(): number[] {
  return hub.transfers(weightsName).map((line) => Number(/bytes=(\d+)-$/.exec(line)?.[1] ?? 0));
}

/** Sends the first bytes, and does something when they are there: cuts the connection, if nothing else. */
const part =
  (bytes: number, then?: () => unknown, contents = weights) =>
  async (_: Request, response: ServerResponse) => {
    sendPart(response, contents, bytes);
    await arrived(cacheDir(), bytes);
    if (then) then();
    else response.destroy();
  };

describe('a connection that is cut', () => {
  test('is continued from where it was', async () => {
    hub.commit(repository, modelFiles);
    const told: HubProgress[] = [];
    instead(part(half), ({ range }, response) => {
      const from = Number(/\d+/.exec(range ?? '')?.[0]);
      response.writeHead(206, { 'Content-Range': `bytes ${from}-${weights.length - 1}/${weights.length}` });
      response.write(weights.subarray(from, half + 1000));
      void arrived(cacheDir(), half + 1000).then(() => response.destroy());
    });
    expect(await predicted({ onProgress: (progress: HubProgress) => told.push(progress) })).toEqual(
      await expectedPrediction(),
    );
    expect(starts()).toEqual([0, half, half + 1000]);
    expect(told.map(({ bytes }) => bytes)).toEqual(told.map(({ bytes }) => bytes).sort((a, b) => a - b));
  });

  test('in an answer that says it is whole', async () => {
    hub.commit(repository, modelFiles);
    // Chunked: nothing but the size in the listing tells that it is not.
    instead((_, response) => response.end(weights.subarray(0, half)));
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(starts()).toEqual([0, half]);
  });

  test('again and again ends the call, and the next one continues', async () => {
    hub.commit(repository, modelFiles);
    const nothing = (_: Request, response: ServerResponse) => response.destroy();
    instead(part(half), nothing, nothing, nothing);
    const message = await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK');
    expect(message).toMatch(`${repository}: no answer, or not all of it, from ${hub.url} (`);
    expect(partialSizes(cacheDir())).toEqual([half]);
    hub.requests = [];
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(hub.transfers()).toEqual([`${weightsName} bytes=${half}-`]);
  });

  test('with much in between is continued as often as it takes', async () => {
    const large = Buffer.alloc(10 * 1024 * 1024 + 5, weights);
    hub.commit(repository, { ...modelFiles, [weightsPath]: large });
    const step = 1.5 * 1024 * 1024;
    hub.fault = ({ server, range }, response) => {
      if (server !== 'storage') return false;
      const from = Number(/\d+/.exec(range ?? '0')?.[0]);
      response.writeHead(from ? 206 : 200, {
        'Content-Range': `bytes ${from}-${large.length - 1}/${large.length}`,
        'Content-Length': large.length - from,
      });
      const some = large.subarray(from, from + step);
      if (from + step >= large.length) response.end(some);
      else {
        response.write(some);
        void arrived(cacheDir(), from + step).then(() => response.destroy());
      }
      return true;
    };
    // They are no safetensors: whole they are, since loading says so.
    await failure(Ddpm.fromHub(repository, options()), 'ERR_CHECKPOINT');
    expect(starts()).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => i * step));
  });
});

test('a server that knows no ranges sends all of it again', async () => {
  hub.commit(repository, modelFiles);
  instead(part(half), (request, response) => sendContents({ ...request, range: undefined }, response, weights));
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(starts()).toEqual([0, half]);
});

test('a server that refuses the range is asked for all of it', async () => {
  hub.commit(repository, modelFiles);
  instead(part(half), (_, response) => response.writeHead(416).end());
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(starts()).toEqual([0, half, 0]);
});

test.each([
  ['bytes 0-9/10'],
  [`bytes ${half - 1}-${weights.length - 1}/${weights.length}`],
  [`bytes ${half}-${weights.length}/${weights.length + 1}`],
  ['bytes x'],
])('another part than was asked for: %s', async (contentRange) => {
  hub.commit(repository, modelFiles);
  instead(part(half), (_, response) => response.writeHead(206, { 'Content-Range': contentRange }).end('0123456789'));
  expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toMatch('sends another part of');
  hub.fault = () => false;
  expect(await predicted()).toEqual(await expectedPrediction());
});

test('the abandoned part of other contents is not continued', async () => {
  hub.commit(repository, modelFiles);
  const controller = new AbortController();
  instead(part(half, () => controller.abort()));
  await expect(Ddpm.fromHub(repository, options({ signal: controller.signal }))).rejects.toThrow('aborted');
  expect(partialSizes(cacheDir())).toEqual([half]);

  const other = Buffer.from(weights);
  other.fill(0, other.length - 4);
  hub.commit(repository, { ...modelFiles, [weightsPath]: other });
  hub.requests = [];
  await predicted();
  expect(hub.transfers(weightsName)).toEqual([`${weightsName} all`]);
});

test('an aborted download is continued by the next call', async () => {
  hub.commit(repository, modelFiles);
  const controller = new AbortController();
  instead(part(half, () => controller.abort()));
  await expect(Ddpm.fromHub(repository, options({ signal: controller.signal }))).rejects.toThrow('aborted');
  expect(await predicted()).toEqual(await expectedPrediction());
  expect(starts()).toEqual([0, half]);
});

describe('wrong contents', () => {
  const wrong = Buffer.from(weights);
  wrong[half] ^= 1;
  const message = () =>
    `${repository}: the hub ${hub.url} sends ${weightsPath} with other contents than it lists (checksum `;

  test('are refused and not kept', async () => {
    hub.commit(repository, modelFiles);
    instead((request, response) => sendContents(request, response, wrong));
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toContain(message());
    expect(partialSizes(cacheDir())).toEqual([]);
    expect(readdirSync(join(repositoryFolder(cacheDir()), 'blobs'))).toHaveLength(3);
    expect(await predicted()).toEqual(await expectedPrediction());
  });

  test('of small files too', async () => {
    hub.commit(repository, modelFiles);
    hub.fault = (request, response) => {
      if (!request.path.endsWith('unet/config.json')) return false;
      sendContents(
        request,
        response,
        Buffer.from(modelFiles['unet/config.json'].toString().replace('"SiLU"', '"silu"').replace(/\d/, '7')),
      );
      return true;
    };
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toContain(
      'sends unet/config.json with other contents',
    );
  });

  test('longer than listed', async () => {
    hub.commit(repository, modelFiles);
    instead((request, response) => sendContents(request, response, Buffer.concat([weights, weights])));
    expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_HUB')).toContain(
      `sends more of ${weightsPath} than it lists`,
    );
    for (const size of partialSizes(cacheDir())) expect(size).toBeLessThanOrEqual(weights.length);
  });

  test('in the first of two pieces are fetched again, in one', async () => {
    hub.commit(repository, modelFiles);
    instead(part(half + 10, undefined, wrong));
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(starts()).toEqual([0, half + 10, 0]);
  });
});

/** Leaves a part of the weights in the cache, as if by a process with this number. */
async function leavePart(pid: number, contents: Buffer, age = 0): Promise<void> {
  const controller = new AbortController();
  instead(part(10, () => controller.abort()));
  await expect(Ddpm.fromHub(repository, options({ signal: controller.signal }))).rejects.toThrow('aborted');
  const partials = join(repositoryFolder(cacheDir()), 'partials');
  const [name] = readdirSync(partials);
  const path = join(partials, name.replace('.0.', `.${pid}.`));
  renameSync(join(partials, name), path);
  writeFileSync(path, contents);
  const time = Date.now() / 1000 - age;
  utimesSync(path, time, time);
  hub.requests = [];
}

/** The number of no process. */
const nobody = 2 ** 22 + 1;

describe('what another process has left', () => {
  test.each([
    ['of a process that is gone', nobody, 0],
    ['of a process with the number of this one, older than it', process.pid, 60 * 60],
    ['of a process whose number another has now', process.ppid, 60 * 60],
  ])('%s', async (_, pid, age) => {
    hub.commit(repository, modelFiles);
    await leavePart(pid, weights.subarray(0, half), age);
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(starts()).toEqual([half]);
    expect(partialSizes(cacheDir())).toEqual([]);
  });

  test('all of it, but for its name', async () => {
    hub.commit(repository, modelFiles);
    await leavePart(nobody, weights);
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(starts()).toEqual([]);
  });

  test.each([
    ['wrong', Buffer.alloc(weights.length, 1)],
    ['too long', Buffer.alloc(weights.length + 1, 1)],
    ['wrong in part', Buffer.alloc(half, 1)],
  ])('contents that are %s', async (_, contents) => {
    hub.commit(repository, modelFiles);
    await leavePart(nobody, contents);
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(starts().at(-1)).toBe(0);
  });
});

test('parts that nobody comes back to are removed in the end', async () => {
  hub.commit(repository, modelFiles);
  await leavePart(nobody, weights.subarray(0, half));
  const partials = join(repositoryFolder(cacheDir()), 'partials');
  const [, rest] = /^[0-9a-f]+(\..*)$/.exec(readdirSync(partials)[0]) as RegExpExecArray;
  const [old, recent] = ['1', '2'].map((digit) => join(partials, digit.repeat(64) + rest));
  for (const [path, days] of [
    [old, 15],
    [recent, 13],
  ] as const) {
    writeFileSync(path, 'part');
    const time = Date.now() / 1000 - days * 24 * 60 * 60;
    utimesSync(path, time, time);
  }
  await predicted();
  expect(readdirSync(partials).map((name) => name[0])).toEqual(['2']);
});

describe('two calls at once', () => {
  test('into an empty cache fetch everything once', async () => {
    hub.commit(repository, modelFiles);
    const both = await Promise.all([predicted(), predicted()]);
    const expected = await expectedPrediction();
    expect(both).toEqual([expected, expected]);
    expect(hub.transfers(weightsName)).toHaveLength(1);
    expect(partialSizes(cacheDir())).toEqual([]);
  });

  test('of which one is aborted', async () => {
    hub.commit(repository, modelFiles);
    const controller = new AbortController();
    let second: Promise<number[]> | undefined;
    instead((request, response) => {
      second = predicted();
      // Long enough for the second to look what there is.
      part(half, () => setTimeout(() => controller.abort(), 300))(request, response);
    });
    const first = Ddpm.fromHub(repository, options({ signal: controller.signal })).catch((error: Error) => error.name);
    expect(await first).toBe('AbortError');
    expect(await second).toEqual(await expectedPrediction());
    expect(starts()).toEqual([0, half]);
  });
});

describe('processes of their own', () => {
  const program = join(__dirname, 'programs/load.cjs');
  const args = () => [program, hub.url, cacheDir(), repository];
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill('SIGKILL'));

  async function result(): Promise<number[]> {
    const { stdout } = await promisify(execFile)(process.execPath, args());
    return JSON.parse(stdout);
  }

  test('one that is killed is continued by the next', async () => {
    hub.commit(repository, modelFiles);
    const sent = new Promise<void>((resolve) => {
      instead(part(half, resolve));
    });
    child = spawn(process.execPath, args(), { stdio: 'ignore' });
    const ended = new Promise((resolve) => child?.on('exit', (_, signal) => resolve(signal)));
    await sent;
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');

    hub.requests = [];
    expect(await predicted()).toEqual(await expectedPrediction());
    expect(hub.transfers()).toEqual([`${weightsName} bytes=${half}-`]);
    expect(partialSizes(cacheDir())).toEqual([]);
  });

  test('two at once', async () => {
    const commit = hub.commit(repository, modelFiles);
    const [one, other] = await Promise.all([result(), result()]);
    expect(one).toHaveLength(8);
    expect(one).toEqual(other);
    const snapshot = join(repositoryFolder(cacheDir()), 'snapshots', commit);
    expect(readFileSync(join(snapshot, weightsPath))).toEqual(weights);
    expect(treeOf(join(repositoryFolder(cacheDir()), 'partials'))).toEqual({});
  });
});
