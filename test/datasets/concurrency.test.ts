import { setTimeout } from 'node:timers/promises';
import { mapOrdered, pacer, sortStrings } from '../../lib/concurrency';
import { pixelsOf } from '../../lib/datasets/dataset';
import { bytesOf, rejection } from './support';

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('mapOrdered', () => {
  test('keeps the order, and no more under way than allowed', async () => {
    let running = 0;
    let most = 0;
    const work = async (item: number) => {
      most = Math.max(most, ++running);
      await setTimeout((item * 7) % 5);
      running--;
      return item * item;
    };
    const items = Array.from({ length: 30 }, (_, i) => i);
    expect(await collect(mapOrdered(items, 4, work))).toEqual(items.map((item) => item * item));
    expect(most).toBe(4);
    expect(await collect(mapOrdered([], 4, work))).toEqual([]);
  });

  test('a rejection comes in its turn, when all that was under way has ended', async () => {
    const ended: number[] = [];
    const seen: number[] = [];
    const work = async (item: number) => {
      await setTimeout(item === 0 ? 20 : 5);
      ended.push(item);
      if (item === 1) throw new Error('no');
      return item;
    };
    const reading = (async () => {
      for await (const item of mapOrdered([0, 1, 2, 3, 4], 3, work)) seen.push(item);
    })();
    expect((await rejection(reading)).message).toBe('no');
    expect(seen).toEqual([0]);
    expect(ended.sort()).toEqual([0, 1, 2, 3]);
  });

  test('a loop that is left early waits for what is under way, and starts nothing more', async () => {
    const started: number[] = [];
    let running = 0;
    const work = async (item: number) => {
      started.push(item);
      running++;
      await setTimeout(5);
      running--;
      return item;
    };
    for await (const item of mapOrdered([0, 1, 2, 3, 4, 5, 6], 2, work)) if (item === 2) break;
    expect(running).toBe(0);
    expect(started).toEqual([0, 1, 2, 3]);
  });
});

test('strings are sorted by code units, many or few', async () => {
  const names = Array.from({ length: 20_000 }, (_, i) => {
    const [a, b, c] = bytesOf(3, i);
    return String.fromCharCode(a, b, c);
  });
  expect(await sortStrings(names)).toEqual([...names].sort());
  expect(await sortStrings(['b', 'a', 'é', 'Z', 'a'])).toEqual(['Z', 'a', 'a', 'b', 'é']);
  expect(await sortStrings([])).toEqual([]);
});

test('a pacer lets the event loop run after a long hold', async () => {
  let ran = false;
  setImmediate(() => {
    ran = true;
  });
  const pause = pacer();
  const end = performance.now() + 10;
  while (performance.now() < end);
  expect(ran).toBe(false);
  await pause();
  expect(ran).toBe(true);
});

test.each([undefined, null, 7, {}, []])('%p is no data set', (value) => {
  expect(() => pixelsOf(value)).toThrow(
    expect.objectContaining({
      code: 'ERR_CONFIG',
      message: expect.stringMatching(/^dataset: expected a Dataset, as made by .*, got /),
    }),
  );
});
