/**
 * The stable reason of a {@link DdpmError}: test for it with `error.code`.
 *
 * - `ERR_CONFIG`: an option is of the wrong type, out of range, unknown, or not supported.
 * - `ERR_DATASET`: a data set is empty, unreadable, or does not fit the model.
 * - `ERR_CHECKPOINT`: a saved model is missing, damaged, or does not fit.
 * - `ERR_NON_FINITE`: a NaN or an infinity turned up in training or in samples.
 * - `ERR_OUT_OF_MEMORY`: memory for the work could not be had.
 * - `ERR_DISPOSED`: the object was disposed of.
 * - `ERR_BUSY`: the object is already doing the one thing that it can do once at a time (training).
 * - `ERR_IO`: the file system refused.
 * - `ERR_HUB`: a model hub refused, or sent something else than it had listed.
 * - `ERR_NETWORK`: a model hub could not be reached, was not able to answer, or a transfer broke off again and again.
 * - `ERR_NATIVE_UNAVAILABLE`: the native addon could not be loaded.
 * - `ERR_NATIVE`: the native side failed in a way that none of the others names.
 */
export type DdpmErrorCode =
  | 'ERR_CONFIG'
  | 'ERR_DATASET'
  | 'ERR_CHECKPOINT'
  | 'ERR_NON_FINITE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DISPOSED'
  | 'ERR_BUSY'
  | 'ERR_IO'
  | 'ERR_HUB'
  | 'ERR_NETWORK'
  | 'ERR_NATIVE_UNAVAILABLE'
  | 'ERR_NATIVE';

/** Every error that this package throws on purpose, but for {@link AbortError}. */
export class DdpmError extends Error {
  /** The stable reason; the message may change between releases, the code does not. */
  readonly code: DdpmErrorCode;

  constructor(code: DdpmErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'DdpmError';
    this.code = code;
  }
}

/** What a promise rejects with after its AbortSignal fired; `cause` is the signal's reason. */
export class AbortError extends Error {
  /** The code that Node's own AbortError carries. */
  readonly code = 'ABORT_ERR';

  constructor(cause?: unknown) {
    super('The operation was aborted', { cause });
    this.name = 'AbortError';
  }
}

/** @throws {AbortError} The signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError(signal.reason);
}
