import { describeValue, invalidOption, nearestName } from '../../lib/config/messages';

test.each([
  [null, 'null (null)'],
  [-0, '-0 (number)'],
  ["it's", `"it's" (string)`],
  ['a\nb', "'a\\nb' (string)"],
  ['x'.repeat(70), `'${'x'.repeat(60)}'... 10 more characters (string)`],
  [Symbol('s'), 'Symbol(s) (symbol)'],
  [function train() {}, '[Function: train] (function)'],
  [{ a: { b: 1 } }, '{ a: [Object] } (object)'],
  [Object.create(null), '[Object: null prototype] {} (object)'],
  [new Float32Array(100), 'Float32Array(100) [ 0, 0, 0, 0, 0, 0, 0, 0, ... 92 more items ] (Float32Array)'],
])('%p on one line', (value, text) => {
  expect(describeValue(value)).toBe(text);
});

test("the error carries the code and the caller's words", () => {
  const error = invalidOption('unet.dropout', 'a number', 'x');
  expect(error).toMatchObject({ code: 'ERR_CONFIG', message: "unet.dropout: expected a number, got 'x' (string)" });
});

test.each([
  ['learningrate', 'learningRate'],
  ['learningRaet', 'learningRate'],
  ['laerningRate', 'learningRate'],
  ['learning_rate', 'learningRate'],
  ['leraningrat', 'learningRate'],
  ['eat', 'eta'],
  ['beta', 'eta'],
  ['lr', undefined],
  ['momentum', undefined],
])('%s is nearest to %s', (name, nearest) => {
  expect(nearestName(name, ['warmupSteps', 'learningRate', 'eta'])).toBe(nearest);
});

test('nothing is near where nothing is known', () => {
  expect(nearestName('eta', [])).toBeUndefined();
});
