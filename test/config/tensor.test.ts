import { imagesOf, integersOf, timestepsOf } from '../../lib/tensor';

const image = { height: 2, width: 3, channels: 4 };

test('the number of images comes from the length or the shape, and nothing is copied', () => {
  const data = new Float32Array(5 * 24);
  expect(imagesOf('x', data, image)).toEqual({ data, count: 5 });
  expect(imagesOf('x', data, image, 5).data).toBe(data);
  expect(imagesOf('x', { data, shape: [5, 4, 2, 3] }, image).data).toBe(data);
});

test('values are not looked at', () => {
  const data = new Float32Array(24).fill(NaN);
  expect(imagesOf('x', data, image).count).toBe(1);
});

test.each([
  [new Float32Array(23), undefined, 'x.length: expected a multiple of 24 (shape [n, 4, 2, 3]), got 23 (number)'],
  [new Float32Array(24), 2, 'x.length: expected 48 (shape [2, 4, 2, 3]), got 24 (number)'],
  [
    { data: new Float32Array(24), shape: [1, 2, 3, 4] },
    undefined,
    'x.shape: expected [n, 4, 2, 3], got [ 1, 2, 3, 4 ] (array)',
  ],
  [
    { data: new Float32Array(24), shape: [1, 4, 2, 3] },
    2,
    'x.shape: expected [2, 4, 2, 3], got [ 1, 4, 2, 3 ] (array)',
  ],
  [{ data: new Float32Array(24), shape: [2, 4, 2, 3] }, 2, 'x.data.length: expected 48, got 24 (number)'],
])('%#: a shape that does not fit', (value, count, message) => {
  expect(() => imagesOf('x', value, image, count)).toThrow(message);
});

test('a timestep for all images, or one for each', () => {
  expect(timestepsOf(999, 3, 1000)).toEqual(Int32Array.of(999, 999, 999));
  expect(timestepsOf([0, 5, 999], 3, 1000)).toEqual(Int32Array.of(0, 5, 999));
  const own = Int32Array.of(1, 2);
  const copy = timestepsOf(own, 2, 1000);
  own[0] = 7;
  expect(copy).toEqual(Int32Array.of(1, 2));
});

test.each([
  [1000, 't: expected an integer from 0 to 999, or an array of 2 of them (one an image), got 1000 (number)'],
  [[0], 't: expected an integer from 0 to 999, or an array of 2 of them (one an image), got [ 0 ] (array)'],
  [[0, -1], 't[1]: expected an integer from 0 to 999, got -1 (number)'],
])('t = %j is refused', (t, message) => {
  expect(() => timestepsOf(t, 2, 1000)).toThrow(message);
});

test('an array with a hole in it is refused', () => {
  expect(() => integersOf('labels', new Array(2), 2, 4)).toThrow(
    'labels[0]: expected an integer from 0 to 3, got undefined (undefined)',
  );
});
