/** Native calls as promises: what fails where becomes which error, and whose line its stack begins with. */
import type { NativeOperation } from '../lib/binding';
import { callNative, runNative } from '../lib/operation';

/** What the native side throws: a plain error with a code. */
const failure = (code: string) => Object.assign(new Error('no memory'), { code });

/** A public method that does some work. */
async function method<T>(start: Parameters<typeof runNative<T>>[1], signal?: AbortSignal): Promise<T> {
  return runNative(method, start, signal);
}

function callerOfMethod(start: Parameters<typeof runNative<unknown>>[1]): Promise<unknown> {
  return method(start);
}

/** Work that ends when it is aborted. */
function endless(): NativeOperation<never> {
  let reject = (_: Error) => {};
  const promise = new Promise<never>((_, fail) => {
    reject = fail;
  });
  return { promise, abort: () => reject(failure('ABORT_ERR')) };
}

test.each<[string, () => NativeOperation<unknown>]>([
  [
    'at the call',
    () => {
      throw failure('ERR_OUT_OF_MEMORY');
    },
  ],
  ['later', () => ({ promise: Promise.reject(failure('ERR_OUT_OF_MEMORY')), abort: () => {} })],
])('a failure %s', async (_, start) => {
  const error = (await callerOfMethod(start).catch((thrown) => thrown)) as Error;
  expect(error).toMatchObject({ name: 'DdpmError', code: 'ERR_OUT_OF_MEMORY', message: 'no memory' });
  const [headline, caller] = error.stack?.split('\n') ?? [];
  expect(headline).toBe('DdpmError: no memory');
  expect(caller).toContain('operation.test.ts');
  expect(error.stack).not.toMatch(/lib.operation/);
});

test('a failure without a code', () => {
  const call = () =>
    callNative(() => {
      throw new TypeError('t: expected an Int32Array');
    });
  expect(call).toThrow(expect.objectContaining({ name: 'DdpmError', code: 'ERR_NATIVE' }));
});

test('a callback that throws ends the work, and its error is the promise’s', async () => {
  const thrown = new RangeError('mine');
  const work = method((guard) => {
    const callback = guard(() => {
      throw thrown;
    });
    const operation = endless();
    setImmediate(() => callback?.(1));
    return operation;
  });
  await expect(work).rejects.toBe(thrown);
});

test('the signal ends the work, or keeps it from beginning', async () => {
  const controller = new AbortController();
  const work = method(endless, controller.signal);
  controller.abort('enough');
  await expect(work).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
  const start = jest.fn();
  await expect(method(start, controller.signal)).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
  expect(start).not.toHaveBeenCalled();
});
