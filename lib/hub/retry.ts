/** Trying again where that may help: the network and busy servers fail for a moment. */
import { setTimeout as delay } from 'node:timers/promises';
import { AbortError, DdpmError, throwIfAborted } from '../errors';
import { onAbort } from '../operation';

/** Attempts in a row that may bring nothing. */
const ATTEMPTS = 4;

/** Before the second attempt; twice as long before each further one. */
const FIRST_PAUSE_MS = 250;

/** The longest wait that a server may ask for. */
const LONGEST_PAUSE_MS = 60_000;

/** A failure that may not happen again. */
export class Passing extends Error {
  /**
   * @param reason What to throw when there is no further attempt.
   * @param pause Milliseconds that the server asks to wait.
   * @param progressed Whether the attempt brought enough that it does not count.
   */
  constructor(
    readonly reason: DdpmError,
    readonly pause?: number,
    readonly progressed = false,
  ) {
    super(reason.message);
  }
}

/**
 * Calls `attempt` until it fails with something else than {@link Passing}, or too often in a row.
 *
 * @throws What the last attempt threw. {@link AbortError} when the signal fires.
 */
export async function retrying<T>(signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfAborted(signal);
    try {
      return await attempt();
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof Passing)) throw error;
      failures = error.progressed ? 1 : failures + 1;
      const pause = error.pause ?? FIRST_PAUSE_MS * 2 ** (failures - 1);
      if (failures === ATTEMPTS) throw error.reason;
      if (pause > LONGEST_PAUSE_MS) {
        const { code, message } = error.reason;
        throw new DdpmError(code, `${message}; it asks to wait for ${Math.ceil(pause / 1000)} s`, { cause: error });
      }
      await sleep(pause, signal);
    }
  }
}

/** @throws {AbortError} The signal has fired. */
export async function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal);
  const waking = new AbortController();
  const disarm = signal && onAbort(signal, () => waking.abort());
  try {
    await delay(milliseconds, undefined, { signal: waking.signal });
  } catch {
    throw new AbortError(signal?.reason);
  } finally {
    disarm?.();
  }
}
