/** Resident memory stays where it is, whatever is done again and again. */
import { run } from './programs';

/** How much more there is at the end than after a fifth of the work, in megabytes. */
async function growth(what: string, times: number): Promise<number> {
  const megabytes = await run<number[]>('memory.cjs', [what, String(times)], { node: ['--expose-gc'] });
  expect(megabytes).toHaveLength(10);
  const [, start] = megabytes;
  // The last three, of which one may hold what is about to be freed.
  return Math.min(...megabytes.slice(-3)) - start;
}

// A leak of the smallest thing, a picture of 64 bytes with its objects, would come to less; one of a network's buffers,
// or of a thread, to a lot more.
test('500 calls of sample(1..8)', async () => {
  expect(await growth('sample', 500)).toBeLessThan(4);
});

test('100 loads and disposals', async () => {
  expect(await growth('load', 100)).toBeLessThan(8);
});

// 16 MB each: all of them kept would be 560 MB.
test('50 loads and disposals of a wider model', async () => {
  expect(await growth('loadWide', 50)).toBeLessThan(40);
});

// 64 MB each, with the copy that is written.
test('30 checkpoints, each resumed', async () => {
  expect(await growth('checkpoint', 30)).toBeLessThan(40);
});

test('40 models that are dropped without disposal', async () => {
  expect(await growth('drop', 40)).toBeLessThan(60);
});
