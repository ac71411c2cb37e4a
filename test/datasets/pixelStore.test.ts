/** The native store of levels, in memory and mapped. */
import { native } from '../../lib/binding';
import { append, createStore, mapFile } from '../../lib/datasets/store';
import { bytesOf, put, useFolder } from './support';

const path = useFolder();
const shape = { height: 2, width: 3, channels: 3 };
const imageBytes = 18;

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe('in memory', () => {
  test('images that come in pieces of any size are one sequence', () => {
    const images = 30_000;
    const levels = bytesOf(images * imageBytes);
    const store = createStore(shape);
    for (let done = 0, piece = 1; done < images; done += piece, piece = (piece * 5 + 1) % 1999) {
      append(store, levels.subarray(done * imageBytes, Math.min(done + piece, images) * imageBytes));
    }
    expect(store).toMatchObject({ ...shape, count: images });
    expect(same(store.read(0, images), levels)).toBe(true);
    for (const i of [0, 1, 3639, 3640, 3641, 10_919, 10_920, 29_999]) {
      expect(same(store.read(i, 1), levels.subarray(i * imageBytes, (i + 1) * imageBytes))).toBe(true);
    }
  });

  test('a set beyond the largest piece of memory', () => {
    // 1 MiB an image, 64 MiB a piece, which comes after 64 in pieces that double.
    const store = createStore({ height: 512, width: 512, channels: 4 });
    const image = new Uint8Array(1 << 20);
    for (let i = 0; i < 140; i++) append(store, image.fill(i));
    expect(store.count).toBe(140);
    for (let i = 0; i < 140; i++) {
      const levels = store.read(i, 1);
      expect([levels.length, levels[0], levels[(1 << 20) - 1]]).toEqual([1 << 20, i, i]);
    }
  });

  test('one image larger than the largest piece', () => {
    const side = 8192;
    const store = createStore({ height: side, width: side, channels: 1 });
    append(store, bytesOf(64).subarray(0, 0));
    expect(store.count).toBe(0);
    const image = new Uint8Array(side * side);
    image[image.length - 1] = 7;
    append(store, image);
    append(store, image);
    expect(store.count).toBe(2);
    expect(store.read(1, 1)[side * side - 1]).toBe(7);
  });

  test('what is read is a copy', () => {
    const store = createStore(shape);
    append(store, bytesOf(imageBytes));
    store.read(0, 1).fill(0);
    expect(same(store.read(0, 1), bytesOf(imageBytes))).toBe(true);
    expect(store.read(1, 0)).toHaveLength(0);
  });
});

describe('mapped', () => {
  test.each([0, 1, 4096, 70_001])('%i bytes into a file', (byteOffset) => {
    const levels = bytesOf(5000 * imageBytes);
    put(path('pixels'), Buffer.concat([Buffer.alloc(byteOffset), levels, Buffer.from('tail')]));
    const store = mapFile(path('pixels'), shape, 5000, byteOffset);
    expect(store).toMatchObject({ ...shape, count: 5000 });
    expect(same(store.read(0, 5000), levels)).toBe(true);
    expect(same(store.read(4999, 1), levels.subarray(4999 * imageBytes))).toBe(true);
  });

  test('cannot grow', () => {
    put(path('pixels'), bytesOf(imageBytes));
    const store = mapFile(path('pixels'), shape, 1, 0);
    expect(() => append(store, bytesOf(imageBytes))).toThrow('A data set that is mapped from a file cannot grow');
  });

  test('an empty range', () => {
    put(path('pixels'), '');
    expect(mapFile(path('pixels'), shape, 0, 0).count).toBe(0);
  });

  test('a file that is too short', () => {
    put(path('pixels'), bytesOf(2 * imageBytes));
    const map = (count: number, byteOffset: number) => () => mapFile(path('pixels'), shape, count, byteOffset);
    expect(map(2, 1)).toThrow(`'${path('pixels')}' has 36 bytes, but its images need 36 from byte 1`);
    expect(map(3, 0)).toThrow(expect.objectContaining({ name: 'DdpmError', code: 'ERR_DATASET' }));
    expect(map(1, Number.MAX_SAFE_INTEGER)).toThrow(expect.objectContaining({ code: 'ERR_DATASET' }));
    expect(map(2, 0)).not.toThrow();
  });

  test('a file that is not there, or is a folder', () => {
    expect(() => mapFile(path('gone'), shape, 1, 0)).toThrow(
      expect.objectContaining({
        name: 'DdpmError',
        code: 'ERR_IO',
        message: expect.stringMatching(/^Cannot map '.*gone': \S.*$/),
      }),
    );
    expect(() => mapFile(path(), shape, 1, 0)).toThrow(expect.objectContaining({ code: 'ERR_IO' }));
  });
});

describe('wrong values are errors, never a crash', () => {
  const anything = (value: unknown) => value as never;

  test('shapes', () => {
    const { PixelStore } = native();
    expect(() => new PixelStore(anything(undefined))).toThrow('shape: expected an object');
    expect(() => new PixelStore(anything({ height: 1, width: 1 }))).toThrow('channels: expected a whole number');
    expect(() => new PixelStore({ ...shape, height: 0 })).toThrow('of at least 1');
    expect(() => new PixelStore({ ...shape, height: -1 })).toThrow('height: expected a whole number');
    expect(() => new PixelStore({ ...shape, height: 2 ** 50, width: 2 ** 50 })).toThrow('larger than memory');
    expect(PixelStore as unknown as () => void).toThrow("without 'new'");
  });

  test('pixels', () => {
    const store = createStore(shape);
    expect(() => store.append(new Uint8Array(17))).toThrow('pixels: expected whole images of 18 bytes, got 17 bytes');
    expect(() => store.append(anything([1, 2, 3]))).toThrow('pixels: expected a Uint8Array');
    expect(() => store.append(anything(new Float32Array(18)))).toThrow('pixels: expected a Uint8Array');
    expect(store.count).toBe(0);
  });

  test('ranges', () => {
    const store = createStore(shape);
    append(store, bytesOf(2 * imageBytes));
    expect(() => store.read(0, 3)).toThrow('within the 2 of the store');
    expect(() => store.read(2, 1)).toThrow('within the 2 of the store');
    expect(() => store.read(-1, 1)).toThrow('index: expected a whole number');
    expect(() => store.read(0, anything('1'))).toThrow('count: expected a whole number');
  });

  test('receivers', () => {
    const { PixelStore } = native();
    const { map } = PixelStore;
    put(path('pixels'), bytesOf(imageBytes));
    const mapOn = (receiver: unknown) => () =>
      map.call(anything(receiver), path('pixels'), { ...shape, count: 1, byteOffset: 0 });
    expect(mapOn(undefined)).toThrow('must be called on PixelStore');
    expect(mapOn(Object)).toThrow('must be called on PixelStore');
    expect(() => PixelStore.prototype.read.call(anything({}), 0, 1)).toThrow('Illegal invocation');
    expect(mapOn(PixelStore)().count).toBe(1);
  });
});
