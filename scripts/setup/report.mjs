/** What the set-up scripts say, and the one way in which they fail. */

/** A failure that its message explains in full: shown without a stack, exit code 1. */
export class SetupError extends Error {
  /** @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = 'SetupError';
  }
}

/** @param {string} line */
export function say(line) {
  console.log(`ddpm-node: ${line}`);
}

/**
 * Runs a script's body; a failure goes to stderr and sets the exit code.
 *
 * @param {() => Promise<void>} body
 */
export async function run(body) {
  try {
    await body();
  } catch (error) {
    console.error(error instanceof SetupError ? `ddpm-node: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/**
 * The one line of a failed command or a thrown value that says why.
 *
 * @param {unknown} error
 */
export function reason(error) {
  return error instanceof Error ? error.message : String(error);
}
