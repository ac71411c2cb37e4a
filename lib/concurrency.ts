/** Long work in pieces: bounded parallelism in a stable order, and pauses that keep the event loop free. */
import { setImmediate } from 'node:timers/promises';

const LONGEST_HOLD_MS = 4;

/**
 * A function to await between pieces of synchronous work of at most a few milliseconds each: it lets the event loop run
 * once the pieces have held it for long enough.
 */
export function pacer(): () => Promise<void> {
  let resumed = performance.now();
  return async () => {
    if (performance.now() - resumed < LONGEST_HOLD_MS) return;
    await setImmediate();
    resumed = performance.now();
  };
}

/**
 * Maps items with at most `concurrency` of them under way or waiting for their turn, and yields the results in the order
 * of the items. However the loop over it ends, nothing is under way any more by then.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T>,
  concurrency: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R, void, void> {
  const underWay: Promise<R>[] = [];
  try {
    for (const item of items) {
      if (underWay.length >= concurrency) yield await (underWay.shift() as Promise<R>);
      const result = map(item);
      // A rejection is reported when its turn comes; until then it is not an unhandled one.
      result.catch(() => {});
      underWay.push(result);
    }
    while (underWay.length > 0) yield await (underWay.shift() as Promise<R>);
  } finally {
    await Promise.allSettled(underWay);
  }
}

const RUN_LENGTH = 2048;

/** Sorts by UTF-16 code units, so alike on every machine, with pauses: a merge sort of runs that are sorted at once. */
export async function sortStrings(strings: readonly string[]): Promise<string[]> {
  const pause = pacer();
  let runs: string[][] = [];
  for (let start = 0; start < strings.length; start += RUN_LENGTH) {
    runs.push(strings.slice(start, start + RUN_LENGTH).sort());
    await pause();
  }
  while (runs.length > 1) {
    const merged: string[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      merged.push(i + 1 < runs.length ? await merge(runs[i], runs[i + 1], pause) : runs[i]);
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge(a: readonly string[], b: readonly string[], pause: () => Promise<void>): Promise<string[]> {
  const merged: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const fromA = j === b.length || (i < a.length && a[i] <= b[j]);
    merged.push(fromA ? a[i++] : b[j++]);
    if (merged.length % RUN_LENGTH === 0) await pause();
  }
  return merged;
}
