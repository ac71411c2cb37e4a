/** One way to call the functions that users give. */
import { AsyncResource } from 'node:async_hooks';
import { invalidOption } from './config/messages';

/** What a user's function has to give. */
export interface Answer<T> {
  /** The option that the function is. */
  name: string;
  /** In words, as in "expected a function that gives …". */
  expected: string;
  accepts(value: unknown): value is T;
}

/**
 * A user's function, to be called as if from the user's own line: it runs at once and in the asynchronous context
 * (`AsyncLocalStorage`) that it was given in. The promise that comes back waits for the one that the function may return,
 * and rejects with whatever either throws.
 *
 * @param answer Left out where the function is only told something: what it gives is then passed over.
 * @throws {DdpmError} `ERR_CONFIG`, as a rejection: it gave something else than it has to.
 */
export function guard<V>(callback: (value: V) => unknown): (value: V) => Promise<unknown>;
export function guard<V, T>(callback: (value: V) => unknown, answer: Answer<T>): (value: V) => Promise<T>;
export function guard<V>(callback: (value: V) => unknown, answer?: Answer<unknown>): (value: V) => Promise<unknown> {
  const bound = AsyncResource.bind(callback);
  return async (value) => {
    const given = await bound(value);
    if (answer && !answer.accepts(given)) {
      throw invalidOption(answer.name, `a function that gives ${answer.expected}`, given);
    }
    return given;
  };
}
