/** Renames on Windows, where another program may hold a file for a moment. */
import { patiently } from '../../lib/files/patiently';

/** Work that fails a number of times. */
function failing(times: number, code: string) {
  const tries = { count: 0 };
  const work = async () => {
    tries.count += 1;
    if (tries.count <= times) throw Object.assign(new Error(`${code}: try ${tries.count}`), { code });
    return 'done';
  };
  return { tries, work };
}

test.each(['EPERM', 'EACCES', 'EBUSY'])('on Windows, %s is waited out', async (code) => {
  const { tries, work } = failing(3, code);
  expect(await patiently(work, 'win32')).toBe('done');
  expect(tries.count).toBe(4);
});

test('on Windows, what stays held fails with the last error, within seconds', async () => {
  const { tries, work } = failing(1000, 'EPERM');
  const start = performance.now();
  await expect(patiently(work, 'win32')).rejects.toThrow(/^EPERM: try 8$/);
  expect(tries.count).toBe(8);
  expect(performance.now() - start).toBeLessThan(10_000);
});

test.each([
  ['win32', 'ENOENT'],
  ['linux', 'EPERM'],
  ['darwin', 'EBUSY'],
] as const)('on %s, %s is the answer at once', async (platform, code) => {
  const { tries, work } = failing(1, code);
  await expect(patiently(work, platform)).rejects.toThrow(`${code}: try 1`);
  expect(tries.count).toBe(1);
});
