/** Options of the calls that take a model to or from where it is kept. */
import type { z } from 'zod';
import { parametersDefaults, saveDefaults } from './defaults';
import { deviceSchema, directorySchema, emaSchema, loadSchema, optimizerSchema, precisionSchema } from './fields';
import { resolveConfig } from './model';
import { configSchema } from './modelSchema';
import { abortSignal, choice, type Fields, finite, flag, integer, options, parseOptions, withDefaults } from './schema';
import type {
  DdpmConfig,
  LoadOptions,
  ParametersOptions,
  ResumeOptions,
  SaveCheckpointOptions,
  SaveOptions,
} from './types';

const saveSchema = options({ rawWeights: flag(), signal: abortSignal() } satisfies Fields<SaveOptions>);

/** Options of `save()` as they stand once resolved. */
export type ResolvedSaveOptions = SaveOptions & typeof saveDefaults;

const saveCheckpointSchema = options({
  keep: integer(1),
  metric: finite(),
  signal: abortSignal(),
} satisfies Fields<SaveCheckpointOptions>);

const resumeSchema = options({
  device: deviceSchema,
  precision: precisionSchema,
  optimizer: optimizerSchema,
  ema: emaSchema,
  ifNone: configSchema as unknown as z.ZodType<DdpmConfig>,
  signal: abortSignal(),
} satisfies Fields<ResumeOptions>);

const parametersSchema = options({
  weights: choice(['ema', 'raw', 'gradient']),
} satisfies Fields<ParametersOptions>);

/**
 * Arguments of `Ddpm.load(directory, options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveLoadOptions(directory: string, given: LoadOptions | undefined): LoadOptions {
  checkDirectory(directory);
  return parseOptions(loadSchema, given === undefined ? {} : given, 'options');
}

/**
 * Arguments of `save(directory, options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveSaveOptions(directory: string, given: SaveOptions | undefined): ResolvedSaveOptions {
  checkDirectory(directory);
  const { signal, ...rest } = parseOptions(saveSchema, given === undefined ? {} : given, 'options');
  return { signal, ...withDefaults(rest, saveDefaults) };
}

/**
 * Arguments of `saveCheckpoint(directory, options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveSaveCheckpointOptions(
  directory: string,
  given: SaveCheckpointOptions | undefined,
): SaveCheckpointOptions {
  checkDirectory(directory);
  return parseOptions(saveCheckpointSchema, given === undefined ? {} : given, 'options');
}

/**
 * Arguments of `Ddpm.resume(directory, options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveResumeOptions(directory: string, given: ResumeOptions | undefined): ResumeOptions {
  checkDirectory(directory);
  const parsed = parseOptions(resumeSchema, given === undefined ? {} : given, 'options');
  // Whether its options go together: told now, not when it is needed.
  if (parsed.ifNone) resolveConfig(parsed.ifNone);
  return parsed;
}

/**
 * Options of `parameters(options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveParametersOptions(given: ParametersOptions | undefined): Required<ParametersOptions> {
  return withDefaults(parseOptions(parametersSchema, given === undefined ? {} : given, 'options'), parametersDefaults);
}

function checkDirectory(directory: unknown): void {
  parseOptions(directorySchema, directory, 'directory');
}
