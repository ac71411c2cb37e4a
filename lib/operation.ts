/** Native work as a promise: the caller's stack, the AbortSignal, callbacks that throw, and errors with their code. */
import type { NativeOperation } from './binding';
import { AbortError, DdpmError, type DdpmErrorCode } from './errors';

type Callback<T> = ((value: T) => void) | undefined;

/** Wraps a user's callback, so that what it throws ends the work and becomes the promise's rejection. */
type Guard = <T>(callback: Callback<T>) => Callback<T>;

/**
 * Starts native work and waits for it.
 *
 * @param caller The public method: an error's stack begins with the line that called it.
 * @param start Starts the work; gets a guard to put around the user's callbacks.
 */
export async function runNative<T>(
  caller: (...args: never[]) => unknown,
  start: (guard: Guard) => NativeOperation<T>,
  signal?: AbortSignal,
): Promise<T> {
  const origin: { stack?: string } = {};
  Error.captureStackTrace(origin, caller);
  if (signal?.aborted) throw at(origin, new AbortError(signal.reason));

  let thrown: { error: unknown } | undefined;
  const guard: Guard = (callback) =>
    callback &&
    ((value) => {
      if (thrown) return;
      try {
        callback(value);
      } catch (error) {
        thrown = { error };
        operation.abort();
      }
    });
  let operation: NativeOperation<T>;
  try {
    operation = start(guard);
  } catch (error) {
    throw at(origin, errorOf(error));
  }
  const abort = () => operation.abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const result = await operation.promise;
    if (!thrown) return result;
  } catch (error) {
    if (!thrown) throw at(origin, errorOf(error, signal));
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  throw thrown.error;
}

/** Makes a call that the native side answers at once; what it throws becomes this package's own error. */
export function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw errorOf(error);
  }
}

/** A native failure as this package's own error. */
export function errorOf(error: unknown, signal?: AbortSignal): Error {
  const { code, message } = error as { code?: string; message: string };
  if (code === 'ABORT_ERR') return new AbortError(signal?.reason);
  return new DdpmError((code ?? 'ERR_NATIVE') as DdpmErrorCode, message, { cause: error });
}

/** The native side fails on another thread: its stack would show none of the user's lines. */
function at<E extends Error>(origin: { stack?: string }, error: E): E {
  const frames = origin.stack?.slice(origin.stack.indexOf('\n')) ?? '';
  error.stack = `${error.name}: ${error.message}${frames}`;
  return error;
}
