import { type Cifar10Options, cifar10 } from '../../lib/datasets';
import { bytesOf, put, rejection, useFolder } from './support';

const path = useFolder();

/** A file of the binary version: for each image its label, then its planes. */
function batch(labels: number[], seed = 1): Buffer {
  return Buffer.concat(labels.flatMap((label, i) => [Uint8Array.of(label), bytesOf(3072, 100 * seed + i)]));
}

/** The image that {@link batch} makes, [H, W, C]. */
function imageOf(seed: number, i: number): number[] {
  const planes = bytesOf(3072, 100 * seed + i);
  return Array.from({ length: 3072 }, (_, at) => planes[(at % 3) * 1024 + Math.floor(at / 3)]);
}

test('a folder of training batches, in the order of their names', async () => {
  put(path('data_batch_2.bin'), batch([3, 9], 2));
  put(path('data_batch_1.bin'), batch([0, 1, 2], 1));
  put(path('test_batch.bin'), batch([5], 3));
  const dataset = await cifar10(path());
  expect(dataset).toMatchObject({ count: 5, height: 32, width: 32, channels: 3, classes: 10 });
  expect([...(dataset.labels as Int32Array)]).toEqual([0, 1, 2, 3, 9]);
  expect(dataset.classNames?.slice(0, 3)).toEqual(['airplane', 'automobile', 'bird']);
  for (const [i, [seed, at]] of [
    [1, 0],
    [1, 1],
    [1, 2],
    [2, 0],
    [2, 1],
  ].entries()) {
    expect([...dataset.image(i).data]).toEqual(imageOf(seed, at));
  }
});

test('the test batch', async () => {
  put(path('data_batch_1.bin'), batch([0]));
  put(path('test_batch.bin'), batch([5, 6], 3));
  const dataset = await cifar10(path(), { train: false });
  expect([...(dataset.labels as Int32Array)]).toEqual([5, 6]);
  expect([...dataset.image(1).data]).toEqual(imageOf(3, 1));
});

test('the folder that the archive was unpacked in', async () => {
  put(path('cifar-10-batches-bin', 'data_batch_1.bin'), batch([7]));
  expect([...((await cifar10(path())).labels as Int32Array)]).toEqual([7]);
});

test('one file, and files in a given order', async () => {
  put(path('a.bin'), batch([1], 1));
  put(path('b.bin'), batch([2], 2));
  expect([...((await cifar10(path('b.bin'))).labels as Int32Array)]).toEqual([2]);
  const dataset = await cifar10([path('b.bin'), path('a.bin')]);
  expect([...(dataset.labels as Int32Array)]).toEqual([2, 1]);
  expect([...dataset.image(1).data]).toEqual(imageOf(1, 0));
});

test('names of classes beside the batches', async () => {
  put(path('data_batch_1.bin'), batch([9]));
  const names = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
  put(path('batches.meta.txt'), `${names.join('\n')}\n\n`);
  const dataset = await cifar10(path());
  expect(dataset.classNames).toEqual(names);
  expect(dataset.classNames?.[dataset.image(0).label as number]).toBe('nine');
});

describe('files that do not fit', () => {
  test.each([
    ['cut short', batch([1, 2]).subarray(0, 2 * 3073 - 1), 'got 6145 bytes'],
    ['with something behind', Buffer.concat([batch([1, 2]), Buffer.of(0)]), 'got 6147 bytes'],
    ['empty', Buffer.alloc(0), 'got 0 bytes'],
  ])('%s', async (_, bytes, got) => {
    put(path('data_batch_1.bin'), bytes);
    const error = await rejection(cifar10(path()));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    const expected = "expected a whole number of records of 3073 bytes (CIFAR-10's binary version)";
    expect(error.message).toBe(`'${path('data_batch_1.bin')}': ${expected}, ${got}`);
  });

  test('with a label above 9', async () => {
    put(path('a.bin'), batch([1, 10]));
    const error = await rejection(cifar10(path('a.bin')));
    expect(error).toMatchObject({ code: 'ERR_DATASET' });
    expect(error.message).toBe(`'${path('a.bin')}': expected labels from 0 to 9, got 10 for image 1`);
  });

  test('missing', async () => {
    const folder = await rejection(cifar10(path()));
    expect(folder).toMatchObject({ code: 'ERR_DATASET' });
    expect(folder.message).toMatch(
      /': expected data_batch_1\.bin to data_batch_5\.bin of CIFAR-10's binary version, found none$/,
    );
    expect((await rejection(cifar10(path(), { train: false }))).message).toMatch(/': expected test_batch\.bin of /);
    const file = await rejection(cifar10(path('gone.bin')));
    expect(file).toMatchObject({ code: 'ERR_DATASET' });
    expect(file.message).toBe(`Cannot read '${path('gone.bin')}': no such file or directory`);
    expect(await rejection(cifar10([path('gone.bin')]))).toMatchObject({ code: 'ERR_DATASET' });
  });
});

test.each<[unknown, unknown, string]>([
  [7, {}, 'location: expected a folder, a .bin file, or an array of .bin files, got 7 (number)'],
  [[], {}, 'location: expected a folder, a .bin file, or an array of .bin files, got [] (array)'],
  ['x', { train: 'yes' }, "train: expected true or false, got 'yes' (string)"],
  ['x', { trian: true }, "trian: unknown option; did you mean 'train'? Known: train, signal"],
  ['x', { signal: 1 }, 'signal: expected an AbortSignal, got 1 (number)'],
  [['x'], { train: true }, 'train: expected no value (the files are given by name), got true (boolean)'],
])('wrong options %#', async (location, options, message) => {
  const error = await rejection(cifar10(location as string, options as Cifar10Options));
  expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message });
});

test('abort', async () => {
  put(path('data_batch_1.bin'), batch([1]));
  const error = await rejection(cifar10(path(), { signal: AbortSignal.abort('enough') }));
  expect(error).toMatchObject({ name: 'AbortError', cause: 'enough' });
});
