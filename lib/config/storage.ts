/** Options of the calls that take a model to or from where it is kept. */
import type { z } from 'zod';
import { parametersDefaults } from './defaults';
import { deviceSchema, directorySchema, emaSchema, optimizerSchema, precisionSchema, seedSchema } from './fields';
import { resolveConfig } from './model';
import { configSchema } from './modelSchema';
import { abortSignal, choice, type Fields, finite, integer, options, parseOptions, withDefaults } from './schema';
import type {
  DdpmConfig,
  LoadOptions,
  ParametersOptions,
  ResumeOptions,
  SaveCheckpointOptions,
  SaveOptions,
} from './types';

const loadSchema = options({
  device: deviceSchema,
  precision: precisionSchema,
  optimizer: optimizerSchema,
  ema: emaSchema,
  seed: seedSchema,
  signal: abortSignal(),
} satisfies Fields<LoadOptions>);

const saveSchema = options({ signal: abortSignal() } satisfies Fields<SaveOptions>);

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
export function resolveSaveOptions(directory: string, given: SaveOptions | undefined): SaveOptions {
  checkDirectory(directory);
  return parseOptions(saveSchema, given === undefined ? {} : given, 'options');
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
