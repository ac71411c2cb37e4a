import { gzipSync } from 'node:zlib';
import { type MnistOptions, mnist } from '../../lib/datasets';
import { bytesOf, put, rejection, useFolder } from './support';

const path = useFolder();

/** A file of the IDX format. */
function idx(magic: number, dimensions: number[], data: Uint8Array): Buffer {
  const head = Buffer.alloc(4 + 4 * dimensions.length);
  head.writeUInt32BE(magic);
  for (const [i, dimension] of dimensions.entries()) head.writeUInt32BE(dimension, 4 + 4 * i);
  return Buffer.concat([head, data]);
}

const images = (n: number, seed = 1) => idx(0x803, [n, 28, 28], bytesOf(n * 784, seed));
const labels = (values: number[]) => idx(0x801, [values.length], Uint8Array.from(values));

const imageOf = (i: number, seed = 1) => [...bytesOf((i + 1) * 784, seed).subarray(i * 784)];

describe('a folder', () => {
  test.each([
    ['as unpacked', '', (bytes: Buffer) => bytes],
    ['as published', '.gz', (bytes: Buffer) => gzipSync(bytes)],
  ])('%s', async (_, suffix, pack) => {
    put(path(`train-images-idx3-ubyte${suffix}`), pack(images(3)));
    put(path(`train-labels-idx1-ubyte${suffix}`), pack(labels([5, 0, 9])));
    put(path(`t10k-images-idx3-ubyte${suffix}`), pack(images(2, 7)));
    put(path(`t10k-labels-idx1-ubyte${suffix}`), pack(labels([1, 2])));
    const train = await mnist(path());
    expect(train).toMatchObject({ count: 3, height: 28, width: 28, channels: 1, classes: 10 });
    expect(train.classNames).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect([...(train.labels as Int32Array)]).toEqual([5, 0, 9]);
    for (let i = 0; i < 3; i++) expect([...train.image(i).data]).toEqual(imageOf(i));
    const held = await mnist(path(), { train: false });
    expect([...(held.labels as Int32Array)]).toEqual([1, 2]);
    expect([...held.image(1).data]).toEqual(imageOf(1, 7));
  });

  test('with the names that some copies have', async () => {
    put(path('train-images.idx3-ubyte'), images(1));
    put(path('train-labels.idx1-ubyte'), labels([4]));
    expect((await mnist(path())).image(0).label).toBe(4);
  });

  test('without labels', async () => {
    put(path('train-images-idx3-ubyte'), images(1));
    const dataset = await mnist(path());
    expect(dataset.labels).toBeUndefined();
    expect(dataset.classNames).toBeUndefined();
  });

  test('without images', async () => {
    const error = await rejection(mnist(path(), { train: false }));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`'${path()}': expected t10k-images-idx3-ubyte, or the same with .gz; found neither`);
  });
});

describe('a file', () => {
  test('with labels beside it, packed or not whatever it is itself', async () => {
    put(path('my-images-idx3-ubyte'), images(2));
    put(path('my-labels-idx1-ubyte.gz'), gzipSync(labels([3, 4])));
    expect([...((await mnist(path('my-images-idx3-ubyte'))).labels as Int32Array)]).toEqual([3, 4]);
  });

  test('with labels and classes of other names', async () => {
    put(path('pictures.idx'), images(2));
    put(path('kinds.idx'), labels([0, 11]));
    const classNames = Array.from({ length: 12 }, (_, i) => `kind ${i}`);
    const dataset = await mnist(path('pictures.idx'), { labels: path('kinds.idx'), classNames });
    expect([...(dataset.labels as Int32Array)]).toEqual([0, 11]);
    expect(dataset.classNames).toEqual(classNames);
  });

  test('of images that are not square', async () => {
    put(path('a.idx'), idx(0x803, [2, 2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)));
    const dataset = await mnist(path('a.idx'));
    expect(dataset).toMatchObject({ count: 2, height: 2, width: 3, channels: 1 });
    expect([...dataset.image(1).data]).toEqual([7, 8, 9, 10, 11, 12]);
  });
});

test('padding puts black around every image', async () => {
  put(path('a.idx'), idx(0x803, [2, 1, 2], Uint8Array.of(1, 2, 3, 4)));
  const dataset = await mnist(path('a.idx'), { pad: 1 });
  expect(dataset).toMatchObject({ count: 2, height: 3, width: 4 });
  expect([...dataset.image(0).data]).toEqual([0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0]);
  expect([...dataset.image(1).data]).toEqual([0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
  put(path('b.idx'), images(1));
  expect(await mnist(path('b.idx'), { pad: 2 })).toMatchObject({ height: 32, width: 32 });
});

describe('files that do not fit', () => {
  const whole = images(2);
  test.each<[string, Buffer, string]>([
    [
      'labels in the place of images',
      labels([1, 2, 3, 4, 5, 6, 7, 8]),
      'an IDX file of images (0x00000803), got 0x00000801',
    ],
    ['another format', Buffer.from('<!DOCTYPE html><html>'), 'an IDX file of images (0x00000803), got 0x3c21444f'],
    ['a few bytes', Buffer.of(0, 0, 8, 3, 0), 'an IDX file of images (0x00000803), got 5 bytes'],
    ['cut short', whole.subarray(0, whole.length - 1), '1584 bytes for images of 2×28×28, got 1583'],
    ['with something behind', Buffer.concat([whole, Buffer.of(0)]), '1584 bytes for images of 2×28×28, got 1585'],
    ['without images', images(0), 'at least one image, of sides from 1 to 8192 with their padding, got 0 of 28×28'],
    [
      'of no pixels',
      idx(0x803, [2, 0, 28], Buffer.alloc(0)),
      'at least one image, of sides from 1 to 8192 with their padding, got 2 of 0×28',
    ],
  ])('%s', async (_, bytes, message) => {
    put(path('a.idx'), bytes);
    const error = await rejection(mnist(path('a.idx')));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`'${path('a.idx')}': expected ${message}`);
  });

  test('gzipped and cut short', async () => {
    const packed = gzipSync(whole);
    put(path('a.gz'), packed.subarray(0, packed.length - 20));
    const error = await rejection(mnist(path('a.gz')));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`Cannot read '${path('a.gz')}': unexpected end of file`);
  });

  test.each<[string, Buffer, string]>([
    ['labels of another number', labels([1, 2, 3]), 'expected 2 labels, one an image, got 3'],
    ['a label without a class', labels([1, 10]), 'expected labels from 0 to 9, got 10 for image 1'],
    ['images in the place of labels', images(2), 'expected an IDX file of labels (0x00000801), got 0x00000803'],
  ])('%s', async (_, bytes, message) => {
    put(path('a.idx'), whole);
    put(path('b.idx'), bytes);
    const error = await rejection(mnist(path('a.idx'), { labels: path('b.idx') }));
    expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_DATASET' });
    expect(error.message).toBe(`'${path('b.idx')}': ${message}`);
  });

  test('missing', async () => {
    expect((await rejection(mnist(path('gone')))).message).toBe(
      `Cannot read '${path('gone')}': no such file or directory`,
    );
    put(path('a.idx'), whole);
    const error = await rejection(mnist(path('a.idx'), { labels: path('gone') }));
    expect(error).toMatchObject({
      code: 'ERR_DATASET',
      message: `Cannot read '${path('gone')}': no such file or directory`,
    });
  });
});

test.each<[unknown, unknown, string]>([
  [undefined, {}, 'location: expected a path, got undefined (undefined)'],
  ['x', { pad: -1 }, 'pad: expected an integer from 0 to 1024, got -1 (number)'],
  ['x', { pad: 0.5 }, 'pad: expected an integer from 0 to 1024, got 0.5 (number)'],
  ['x', { train: 1 }, 'train: expected true or false, got 1 (number)'],
  ['x', { labels: 7 }, 'labels: expected a path, got 7 (number)'],
  ['x', { classNames: 'digits' }, "classNames: expected an array of names, one a class, got 'digits' (string)"],
  ['x', { padding: 2 }, 'padding: unknown option. Known: train, labels, classNames, pad, signal'],
])('wrong options %#', async (location, options, message) => {
  const error = await rejection(mnist(location as string, options as MnistOptions));
  expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_CONFIG', message });
});

test('options that do not go with what is there', async () => {
  put(path('a.idx'), images(1));
  expect(await rejection(mnist(path('a.idx'), { train: true }))).toMatchObject({
    code: 'ERR_CONFIG',
    message: 'train: expected no value (the file is given by name), got true (boolean)',
  });
  expect(await rejection(mnist(path('a.idx'), { classNames: ['a'] }))).toMatchObject({
    code: 'ERR_CONFIG',
    message: "classNames: expected no value (there is no file of labels), got [ 'a' ] (array)",
  });
});

test('abort', async () => {
  put(path('a.idx'), images(1));
  const error = await rejection(mnist(path('a.idx'), { signal: AbortSignal.abort('enough') }));
  expect(error).toMatchObject({ name: 'AbortError', cause: 'enough' });
});
