import type { NativeModel, NativeOperation, NativeTrainingState, NativeTrainResult } from '../../binding';
import type { CheckpointDue, ResolvedCheckpointOptions, ResolvedConfig, SavedCheckpoint } from '../../config';
import { AbortError, throwIfAborted } from '../../errors';
import { type Answer, guard } from '../../guard';
import { warn } from '../../warn';
import type { TrainingRecord } from './manifest';
import { writeCheckpoint } from './write';

/** The training whose state is saved. */
interface Source {
  config: ResolvedConfig;
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  model: Pick<NativeModel, 'exportState' | 'step'>;
  training: Promise<TrainingRecord>;
  signal: AbortSignal | undefined;
}

/** What the checkpoints of a training came to, as a part of its result. */
interface Outcome {
  checkpoint?: string;
  failedCheckpoints: number;
  checkpointError?: Error;
}

const JUDGEMENT: Answer<number> = {
  name: 'checkpoint.metric',
  expected: 'a number',
  accepts: (value) => typeof value === 'number',
};

/** The checkpoints of one `train()`: written one at a time, while training goes on; one that fails is told of. */
export class PeriodicCheckpoints {
  /** The loss that was reported last. */
  loss = Number.NaN;
  #latest: SavedCheckpoint | undefined;
  #failed = 0;
  /** Of the attempt that was made last. */
  #error: Error | undefined;
  #underWay = Promise.resolve();
  readonly #firstStep: number;
  readonly #metric: ((at: CheckpointDue) => Promise<number>) | undefined;

  constructor(
    private readonly options: ResolvedCheckpointOptions,
    private readonly source: Source,
  ) {
    this.#firstStep = source.model.step;
    this.#metric = options.metric && guard(options.metric, JUDGEMENT);
  }

  /** Starts to save a state, or tells why there is none. */
  save(state: NativeTrainingState | Error): void {
    this.#underWay = this.#underWay.then(() => this.#save(state));
  }

  /** The training, with its checkpoints as a part of it; its end waits for what is being written. */
  around(training: NativeOperation<NativeTrainResult>): NativeOperation<NativeTrainResult & Outcome> {
    const finish = async () => {
      try {
        const result = await training.promise;
        await this.#underWay;
        const done = result.step === this.#firstStep || result.step === this.#latest?.step;
        if (!done) await this.#save(await this.source.model.exportState().promise.catch((error: Error) => error));
        throwIfAborted(this.source.signal);
        const saved = { ...result, checkpoint: this.#latest?.path, failedCheckpoints: this.#failed };
        return this.#error ? { ...saved, checkpointError: this.#error } : saved;
      } finally {
        await this.#underWay;
      }
    };
    return { promise: finish(), abort: () => training.abort() };
  }

  async #save(state: NativeTrainingState | Error): Promise<void> {
    const { directory, keep, onSave } = this.options;
    const { config, parameters, training, signal } = this.source;
    let saved: SavedCheckpoint;
    try {
      // Asks for no class: the error may be of another realm.
      if ('message' in state) throw state;
      try {
        const metric = await this.#judge({ step: state.counters.step, loss: this.loss });
        const contents = { config, parameters, state, training: await training, metric };
        saved = await writeCheckpoint(directory, contents, { keep, signal });
      } finally {
        state.release();
      }
    } catch (error) {
      // An abort ends the training too, which tells of it.
      if (!(error instanceof AbortError)) this.#tell(error as Error);
      return;
    }
    this.#latest = saved;
    this.#error = undefined;
    onSave?.(saved);
  }

  /** What the metric says. No judgement is no reason to lose the state; and a number that is not finite is none. */
  async #judge(at: CheckpointDue): Promise<number | null> {
    try {
      const value = await this.#metric?.(at);
      return value !== undefined && Number.isFinite(value) ? value : null;
    } catch (error) {
      const { directory } = this.options;
      const { message } = Object(error) as { message?: unknown };
      warn('DDPM_METRIC_FAILED', `${directory}: step ${at.step} is saved without its metric: ${message ?? error}`);
      return null;
    }
  }

  #tell(error: Error): void {
    this.#failed++;
    this.#error = error;
    const { onError, directory } = this.options;
    if (onError) onError(error);
    else warn('DDPM_CHECKPOINT_FAILED', `${directory}: no checkpoint could be saved: ${error.message}`);
  }
}
