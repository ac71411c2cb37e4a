import type { NativeModel, NativeOperation, NativeTrainingState, NativeTrainResult } from '../../binding';
import type { CheckpointDue, ResolvedCheckpointOptions, ResolvedConfig, SavedCheckpoint } from '../../config';
import { AbortError, throwIfAborted } from '../../errors';
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

/** The checkpoints of one `train()`: written one at a time, while training goes on; one that fails is told of. */
export class PeriodicCheckpoints {
  /** The loss that was reported last. */
  loss = Number.NaN;
  #latest: SavedCheckpoint | undefined;
  /** Of the attempt that was made last. */
  #error: Error | undefined;
  #underWay = Promise.resolve();
  readonly #firstStep: number;

  constructor(
    private readonly options: ResolvedCheckpointOptions,
    private readonly source: Source,
  ) {
    this.#firstStep = source.model.step;
  }

  /** Starts to save a state, or tells why there is none. */
  save(state: NativeTrainingState | Error): void {
    this.#underWay = this.#underWay.then(() => this.#save(state));
  }

  /** The training, with its last checkpoint as a part of it; its end waits for what is being written. */
  around(
    training: NativeOperation<NativeTrainResult>,
  ): NativeOperation<NativeTrainResult & { checkpoint?: string; checkpointError?: Error }> {
    const finish = async () => {
      try {
        const result = await training.promise;
        await this.#underWay;
        const done = result.step === this.#firstStep || result.step === this.#latest?.step;
        if (!done) await this.#save(await this.source.model.exportState().promise.catch((error: Error) => error));
        throwIfAborted(this.source.signal);
        const saved = { ...result, checkpoint: this.#latest?.path };
        return this.#error ? { ...saved, checkpointError: this.#error } : saved;
      } finally {
        await this.#underWay;
      }
    };
    return { promise: finish(), abort: () => training.abort() };
  }

  async #save(state: NativeTrainingState | Error): Promise<void> {
    const { directory, keep, metric, onSave } = this.options;
    const { config, parameters, training, signal } = this.source;
    let saved: SavedCheckpoint;
    try {
      // Asks for no class: the error may be of another realm.
      if ('message' in state) throw state;
      try {
        const value = metric && (await judge(metric, { step: state.counters.step, loss: this.loss }));
        const contents = { config, parameters, state, training: await training, metric: value ?? null };
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

  #tell(error: Error): void {
    this.#error = error;
    const { onError, directory } = this.options;
    if (onError) onError(error);
    else warn('DDPM_CHECKPOINT_FAILED', `${directory}: no checkpoint could be saved: ${error.message}`);
  }
}

/** What a metric says; a number that is not finite is no judgement. */
async function judge(metric: NonNullable<ResolvedCheckpointOptions['metric']>, at: CheckpointDue) {
  const value: unknown = await metric(at);
  if (typeof value !== 'number') throw new TypeError(`checkpoint.metric: expected it to give a number, got ${value}`);
  return Number.isFinite(value) ? value : undefined;
}
