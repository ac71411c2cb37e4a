/** What a user should know of, though the work goes on. */

/**
 * - `DDPM_CHECKPOINT_DAMAGED`: a checkpoint could not be used, and an older one was taken.
 * - `DDPM_CHECKPOINT_FAILED`: a checkpoint could not be saved; training goes on.
 * - `DDPM_FOLDER_UNREADABLE`: a folder of images cannot be read, and a filter has left it out.
 * - `DDPM_METRIC_FAILED`: a checkpoint was saved without its metric, which threw or gave no number.
 * - `DDPM_HUB_CACHE`: the cache of models from the hub could not be written; what was asked for is loaded.
 * - `DDPM_HUB_UNREACHABLE`: the hub could not be asked, and the commit that was used last is used again.
 * - `DDPM_NOT_FLUSHED`: a file system cannot flush what is saved to its disk, so that a power cut may take it away.
 * - `DDPM_NO_CUDA_DEVICE`: this build is one for CUDA and finds no device that it can use; `device: 'auto'` is the CPU.
 * - `DDPM_RESUME_CHANGED`: a training goes on with other settings than it had.
 * - `DDPM_SIGNAL_LEFT`: the noise schedule of a model leaves much of the image at its end.
 */
export type WarningCode =
  | 'DDPM_CHECKPOINT_DAMAGED'
  | 'DDPM_CHECKPOINT_FAILED'
  | 'DDPM_FOLDER_UNREADABLE'
  | 'DDPM_METRIC_FAILED'
  | 'DDPM_HUB_CACHE'
  | 'DDPM_HUB_UNREACHABLE'
  | 'DDPM_NOT_FLUSHED'
  | 'DDPM_NO_CUDA_DEVICE'
  | 'DDPM_RESUME_CHANGED'
  | 'DDPM_SIGNAL_LEFT';

/** Emits a warning as Node's own are: on `process`, and where nobody silences it on stderr. */
export function warn(code: WarningCode, message: string): void {
  process.emitWarning(message, { type: 'DdpmWarning', code });
}

const told = new Set<WarningCode>();

/** The same for what need not be heard again: once a process, or worker thread. */
export function warnOnce(code: WarningCode, message: string): void {
  if (told.has(code)) return;
  told.add(code);
  warn(code, message);
}
