/** What a user should know of, though the work goes on. */

/**
 * - `DDPM_CHECKPOINT_DAMAGED`: a checkpoint could not be used, and an older one was taken.
 * - `DDPM_CHECKPOINT_FAILED`: a checkpoint could not be saved; training goes on.
 * - `DDPM_RESUME_CHANGED`: a training goes on with other settings than it had.
 * - `DDPM_NO_CUDA_DEVICE`: a build for CUDA computes on the CPU, since there is no device that it can use.
 */
export type WarningCode =
  | 'DDPM_CHECKPOINT_DAMAGED'
  | 'DDPM_CHECKPOINT_FAILED'
  | 'DDPM_RESUME_CHANGED'
  | 'DDPM_NO_CUDA_DEVICE';

/** Emits a warning as Node's own are: on `process`, and where nobody silences it on stderr. */
export function warn(code: WarningCode, message: string): void {
  process.emitWarning(message, { type: 'DdpmWarning', code });
}
