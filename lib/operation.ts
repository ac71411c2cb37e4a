/** Native work as a promise: the caller's stack, the AbortSignal, callbacks that throw, and errors with their code. */
import type { NativeOperation } from './binding';
import { AbortError, DdpmError, type DdpmErrorCode } from './errors';
import { guard } from './guard';

type Callback<T> = ((value: T) => unknown) | undefined;

/** Wraps a user's callback, so that what it throws ends the work and becomes the promise's rejection. */
type Watch = <T>(callback: Callback<T>) => ((value: T) => void) | undefined;

/**
 * Starts native work and waits for it, and for what the user's callbacks have begun: one that returns a promise fails
 * as one that throws.
 *
 * @param caller The public method: an error's stack begins with the line that called it.
 * @param start Starts the work; gets what to put around the user's callbacks.
 */
export async function runNative<T>(
  caller: (...args: never[]) => unknown,
  start: (watch: Watch) => NativeOperation<T>,
  signal?: AbortSignal,
): Promise<T> {
  const origin: { stack?: string } = {};
  Error.captureStackTrace(origin, caller);
  if (signal?.aborted) throw at(origin, new AbortError(signal.reason));

  let thrown: { error: unknown } | undefined;
  const fail = (error: unknown) => {
    thrown ??= { error };
    operation.abort();
  };
  const unfinished = new Set<Promise<void>>();
  const watch: Watch = (callback) => {
    if (!callback) return undefined;
    const call = guard(callback);
    return (value) => {
      if (thrown || signal?.aborted) return;
      const finished = call(value)
        .then(() => {}, fail)
        .finally(() => unfinished.delete(finished));
      unfinished.add(finished);
    };
  };
  let operation: NativeOperation<T>;
  try {
    operation = start(watch);
  } catch (error) {
    throw at(origin, errorOf(error));
  }
  const disarm = signal && onAbort(signal, () => operation.abort());
  try {
    const result = await operation.promise;
    await Promise.all(unfinished);
    if (!thrown) return result;
  } catch (error) {
    if (!thrown) throw at(origin, errorOf(error, signal));
  } finally {
    disarm?.();
  }
  throw thrown.error;
}

/** What each signal is to abort. */
const armed = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Has a signal call `abort`. Calls that share a signal share its one listener: Node warns of a leak where one has more
 * than ten, and a service may well have more requests than that.
 *
 * @returns Undoes it.
 */
export function onAbort(signal: AbortSignal, abort: () => void): () => void {
  let aborts = armed.get(signal);
  if (!aborts) {
    const all = new Set<() => void>();
    const abortAll = () => {
      for (const one of all) one();
    };
    signal.addEventListener('abort', abortAll, { once: true });
    armed.set(signal, all);
    aborts = all;
  }
  aborts.add(abort);
  return () => aborts.delete(abort);
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
