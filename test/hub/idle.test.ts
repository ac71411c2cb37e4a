/** Servers that take a request and then say nothing. */
import type { ServerResponse } from 'node:http';
import { Ddpm } from '../../lib';
import { failure } from '../helpers/folder';
import {
  arrived,
  expectedPrediction,
  hubForEachTest,
  modelFiles,
  prediction,
  repository,
  weights,
  weightsName,
} from './support';

const { hub, cacheDir, options } = hubForEachTest();

// The sandbox's own timeouts only: what Node's fetch and the server wait for is real.
beforeEach(() => {
  jest.useFakeTimers({
    doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance', 'Date', 'setInterval'],
  });
});
afterEach(() => jest.useRealTimers());

test('a minute without an answer counts as none', async () => {
  hub.fault = () => {
    jest.advanceTimersByTime(60_000);
    return true;
  };
  expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_NETWORK')).toContain('(nothing came for 60 s)');
  expect(hub.requests).toHaveLength(4);
});

test('a transfer that stands still is continued, one that is slow is not disturbed', async () => {
  hub.commit(repository, modelFiles);
  const half = Math.floor(weights.length / 2);
  const sendSlowly = async (response: ServerResponse) => {
    response.writeHead(200, { 'Content-Length': weights.length });
    for (const [from, to] of [
      [0, 1000],
      [1000, half],
    ]) {
      jest.advanceTimersByTime(50_000);
      response.write(weights.subarray(from, to));
      await arrived(cacheDir(), to);
    }
    jest.advanceTimersByTime(60_000);
  };
  let stood = false;
  hub.fault = ({ server }, response) => {
    if (server !== 'storage' || stood) return false;
    stood = true;
    void sendSlowly(response);
    return true;
  };
  expect(await prediction(await Ddpm.fromHub(repository, options()))).toEqual(await expectedPrediction());
  expect(hub.transfers(weightsName)).toEqual([`${weightsName} all`, `${weightsName} bytes=${half}-`]);
});
