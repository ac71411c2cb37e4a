/** Options of the calls that take a model to or from where it is kept. */
import { parametersDefaults, saveDefaults } from './defaults';
import { loadSchema } from './fields';
import { invalidOption } from './messages';
import { abortSignal, choice, type Fields, flag, options, parseOptions, withDefaults } from './schema';
import type { LoadOptions, ParametersOptions, SaveOptions } from './types';

const saveSchema = options({ rawWeights: flag(), signal: abortSignal() } satisfies Fields<SaveOptions>);

/** Options of `save()` as they stand once resolved. */
export type ResolvedSaveOptions = SaveOptions & typeof saveDefaults;

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
 * Options of `parameters(options)`.
 *
 * @throws {DdpmError} `ERR_CONFIG`.
 */
export function resolveParametersOptions(given: ParametersOptions | undefined): Required<ParametersOptions> {
  return withDefaults(parseOptions(parametersSchema, given === undefined ? {} : given, 'options'), parametersDefaults);
}

function checkDirectory(directory: unknown): void {
  if (typeof directory === 'string' && directory !== '' && !directory.includes('\0')) return;
  throw invalidOption('directory', 'the path of a folder', directory);
}
