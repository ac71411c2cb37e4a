// Times of several sides that do the same work, taken in turns, so that a machine that is slow for a while is slow for all.

/**
 * @typedef {object} Side
 * @property {string} name
 * @property {() => Promise<number>} run Does the work once; gives the seconds that it took.
 *
 * @typedef {object} Measured
 * @property {string} name
 * @property {number} median
 * @property {number} fastest
 * @property {number[]} all
 */

/**
 * @param {Side[]} sides
 * @param {number} rounds
 * @param {object} [uncounted] Runs of each side that do not count.
 * @param {number} [uncounted.first] Before the first round: what is compiled and allocated once.
 * @param {number} [uncounted.everyTurn] Before each run that counts: caches and memory are then this side's, not what
 *   the other sides left, as in work that goes on.
 * @returns {Promise<Measured[]>}
 */
export async function inTurns(sides, rounds, { first = 1, everyTurn = 0 } = {}) {
  /** @type {number[][]} */
  const seconds = sides.map(() => []);
  for (const { run } of sides) for (let i = 0; i < first; i++) await run();
  for (let round = 0; round < rounds; round++) {
    for (const [i, { run }] of sides.entries()) {
      for (let k = 0; k < everyTurn; k++) await run();
      seconds[i].push(await run());
    }
  }
  return sides.map(({ name }, i) => summary(name, seconds[i]));
}

/**
 * @param {string} name
 * @param {number[]} all
 * @returns {Measured}
 */
export function summary(name, all) {
  return { name, median: median(all), fastest: Math.min(...all), all };
}

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {() => Promise<unknown>} work
 * @returns {Promise<number>} The seconds that it takes.
 */
export async function secondsOf(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
