/**
 * diffusers' configuration files and ours, both ways. A key that a file leaves out has the default of diffusers' own
 * classes (`UNet2DModel` and `DDPMScheduler`, which have kept theirs since 2022), never ours. What this package cannot
 * express is refused by name, all at once: a setting that is passed over gives other pictures without a word.
 */
import type { DdpmConfig, DiffusionOptions, ImageShape, ResolvedConfig, UNetOptions } from '../../config';
import { diffusionDefaults } from '../../config/defaults';
import { levelsOf } from '../../config/levels';
import { alternatives, invalidLine, nearestName } from '../../config/messages';
import { timestepSpacings } from '../../config/sample';
import { DdpmError } from '../../errors';
import type { JsonObject } from '../formats/json';
import { layout } from './layout';
import { samplerSettings, schedulerDefaults } from './schedulers';

/** The release of diffusers whose format is written. */
const DIFFUSERS_VERSION = '0.40.0.dev0';

/** `UNet2DModel`'s width of the time embedding, in units of the first level's channels. */
const TIME_EMBEDDING_FACTOR = 4;

/** How much a message tells of unknown settings: that many, and that many characters of each name. */
const MOST_UNKNOWN = 20;
const LONGEST_NAME = 80;

/** What diffusers' files say of a model; the rest of a configuration is not theirs. */
export type DiffusersConfig = Pick<DdpmConfig, 'diffusion'> & { image: ImageShape; unet: Required<UNetOptions> };

/** A parsed file, and what messages call it. */
interface NamedJson {
  name: string;
  json: JsonObject;
}

/**
 * The configuration that two files of diffusers describe, with every option that they decide. Whether the values go
 * together is left to `resolveConfig`.
 *
 * @param files.scheduler May be absent: the result then has no options of the diffusion process.
 * @param files.given What the caller says of the process: it goes before the scheduler's file, whose faults do not count there.
 * @throws {DdpmError} `ERR_CHECKPOINT`, with one line for each setting that is not supported, unknown or of a wrong type.
 */
export function configFromDiffusers(files: {
  unet: NamedJson;
  scheduler?: NamedJson;
  given?: DiffusionOptions;
}): DiffusersConfig {
  const unetSettings = new Settings(files.unet.name, files.unet.json);
  const { image, unet, outChannels } = readUNet(unetSettings);
  const schedulerSettings = files.scheduler && new Settings(files.scheduler.name, files.scheduler.json);
  const { given = {} } = files;
  const diffusion = schedulerSettings ? readScheduler(schedulerSettings, given) : {};
  const problems = [...unetSettings.problems, ...(schedulerSettings?.problems ?? [])].map(({ line }) => line);
  if (problems.length === 0) {
    // A learned variance is a second value for each of the image's.
    const variance = given.varianceType ?? diffusion.varianceType ?? diffusionDefaults.varianceType;
    const expected = variance === 'learned_range' ? 2 * image.channels : image.channels;
    if (outChannels !== expected) {
      const reason = `variance_type '${variance}' and in_channels ${image.channels}`;
      problems.push(invalidLine(`${files.unet.name}: out_channels`, `${expected} (for ${reason})`, outChannels));
    }
  }
  if (problems.length) throw new DdpmError('ERR_CHECKPOINT', problems.join('\n'));
  return { image, unet, diffusion };
}

/** The files that diffusers would write for a configuration, by their place in {@link layout}; keys in its order. */
export function diffusersFiles(config: ResolvedConfig): {
  index: JsonObject;
  unetConfig: JsonObject;
  schedulerConfig: JsonObject;
} {
  return {
    index: {
      _class_name: 'DDPMPipeline',
      _diffusers_version: DIFFUSERS_VERSION,
      scheduler: ['diffusers', 'DDPMScheduler'],
      unet: ['diffusers', 'UNet2DModel'],
    },
    unetConfig: unetFile(config),
    schedulerConfig: schedulerFile(config),
  };
}

/**
 * Checks that a `model_index.json` names a pipeline of one `UNet2DModel` and its scheduler.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`.
 */
export function checkModelIndex(name: string, json: JsonObject): void {
  const pipelines = ['DDPMPipeline', 'DDIMPipeline', 'PNDMPipeline', 'RePaintPipeline'];
  if ('_class_name' in json && !pipelines.includes(json._class_name as string)) {
    const line = invalidLine(`${name}: _class_name`, alternatives(pipelines), json._class_name);
    throw new DdpmError('ERR_CHECKPOINT', line);
  }
}

const downBlocks = ['DownBlock2D', 'AttnDownBlock2D'];
const upBlocks = ['UpBlock2D', 'AttnUpBlock2D'];
const blockPrefix = 'UNetRes';

function readUNet(settings: Settings): { image: ImageShape; unet: Required<UNetOptions>; outChannels: number } {
  settings.takeClass(['UNet2DModel']);
  const size = settings.take('sample_size', null, 'an integer or [height, width]', isSize);
  const channels = settings.take('in_channels', 3, 'a positive integer', isCount);
  const outChannels = settings.take('out_channels', 3, 'a positive integer', isCount);
  const widths = settings.take('block_out_channels', [224, 448, 672, 896], 'an array of positive integers', isCounts);
  const down = settings.take(
    'down_block_types',
    ['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D'],
    `an array of ${alternatives(downBlocks)}`,
    isBlocks(downBlocks),
  );
  const up = settings.take(
    'up_block_types',
    ['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
    `an array of ${alternatives(upBlocks)}`,
    isBlocks(upBlocks),
  );
  const normGroups = settings.take('norm_num_groups', 32, 'a positive integer', isCount);
  const attentionNormGroups = settings.take('attn_norm_num_groups', null, 'a positive integer or null', isCountOrNull);
  const timeEmbedding = settings.take('time_embedding_dim', null, 'a positive integer or null', isCountOrNull);
  const attention = down.map((type) => type.includes('Attn'));

  const unet = {
    channels: widths[0],
    channelMultipliers: widths.map((width) => width / widths[0]),
    blocksPerLevel: settings.take('layers_per_block', 2, 'a positive integer', isCount),
    attentionResolutions: attention.flatMap((has, i) => (has ? [heightOf(size) / 2 ** i] : [])),
    attentionHeadChannels: settings.take('attention_head_dim', 8, 'a positive integer or null', isCountOrNull),
    dropout: settings.take('dropout', 0, 'a number', isNumber),
    normGroups,
    normEpsilon: settings.take('norm_eps', 1e-5, 'a number', isNumber),
    classes: settings.take('num_class_embeds', null, 'a positive integer or null', isCountOrNull) ?? 0,
    downsamplePadding: settings.choose('downsample_padding', 1, [0, 1]) === 0 ? 'asymmetric' : 'symmetric',
    flipSinToCos: settings.take('flip_sin_to_cos', true, 'true or false', isFlag),
    frequencyShift: settings.take('freq_shift', 0, 'a number', isNumber),
  } satisfies Required<UNetOptions>;

  settings.choose('act_fn', 'silu', ['silu', 'swish']);
  settings.choose('add_attention', true, [true]);
  settings.choose('center_input_sample', false, [false]);
  settings.choose('class_embed_type', null, [null]);
  settings.choose('downsample_type', 'conv', ['conv']);
  settings.choose('mid_block_scale_factor', 1, [1]);
  settings.choose('mid_block_type', 'UNetMidBlock2D', ['UNetMidBlock2D']);
  settings.choose('resnet_time_scale_shift', 'default', ['default']);
  settings.choose('time_embedding_type', 'positional', ['positional']);
  settings.choose('upsample_type', 'conv', ['conv']);
  // Of no effect: it is the length of a learned time embedding.
  settings.take('num_train_timesteps', null, 'a positive integer or null', isCountOrNull);
  settings.refuseUnknown();

  if (settings.problems.length === 0) {
    const levels = widths.length;
    const factor = 2 ** (levels - 1);
    if (down.length !== levels)
      settings.refuse('down_block_types', `${levels} entries, as in block_out_channels`, down);
    if (up.length !== levels) settings.refuse('up_block_types', `${levels} entries, as in block_out_channels`, up);
    if (up.length === down.length && up.some((type, i) => type.includes('Attn') !== attention.at(-1 - i))) {
      settings.refuse('up_block_types', 'attention where down_block_types has it, in reverse order', up);
    }
    if (sidesOf(size).some((side) => side % factor !== 0)) {
      settings.refuse('sample_size', `a multiple of ${factor}, which ${levels} levels can halve`, size);
    }
    if (attentionNormGroups !== null && attentionNormGroups !== normGroups) {
      settings.refuse('attn_norm_num_groups', `null or norm_num_groups (${normGroups})`, attentionNormGroups);
    }
    const width = TIME_EMBEDDING_FACTOR * widths[0];
    if (timeEmbedding !== null && timeEmbedding !== width) {
      settings.refuse('time_embedding_dim', `null or ${width} (${TIME_EMBEDDING_FACTOR} × channels)`, timeEmbedding);
    }
  }
  const [height, width] = sidesOf(size);
  return { image: { height, width, channels }, unet, outChannels };
}

const schedules = { linear: 'linear', scaled_linear: 'scaled_linear', squaredcos_cap_v2: 'cosine' } as const;

/** 'fixed_small_log' is the same variance as 'fixed_small', by way of its logarithm. */
const variances = {
  fixed_large: 'fixed_large',
  fixed_small: 'fixed_small',
  fixed_small_log: 'fixed_small',
  learned_range: 'learned_range',
} as const;

/** Whether the caller's options take the place of a setting of the scheduler's file; of the schedule, where it is none of these. */
function isOverridden(setting: string, given: DiffusionOptions): boolean {
  const hasSchedule = (given.betas ?? undefined) !== undefined || given.betaSchedule !== undefined;
  switch (setting) {
    case 'prediction_type':
    case 'predict_epsilon':
      return given.predictionType !== undefined;
    case 'variance_type':
      return given.varianceType !== undefined;
    case 'clip_sample':
    case 'clip_predicted_image':
    case 'clip_sample_range':
    case 'thresholding':
      return given.clipSample !== undefined;
    case 'num_train_timesteps':
    case 'timesteps':
      return given.timesteps !== undefined || (given.betas ?? undefined) !== undefined;
    default:
      return hasSchedule;
  }
}

/** The process that a scheduler's file tells, as far as the caller's options leave it open. */
function readScheduler(settings: Settings, given: DiffusionOptions): DiffusionOptions {
  const diffusion = readProcess(settings);
  if (settings.problems.length === 0) return diffusion;
  settings.forgive(({ setting }) => isOverridden(setting, given));
  // A schedule that was overridden for its faults leaves nothing behind.
  if (!isOverridden('beta_schedule', given)) return diffusion;
  const { betas, betaSchedule, betaStart, betaEnd, ...others } = diffusion;
  return others;
}

function readProcess(settings: Settings): DiffusionOptions {
  // The releases before 0.1 called two of the settings otherwise; 0.8 had a flag for the prediction.
  const timesteps = settings.takeRenamed('num_train_timesteps', 'timesteps', 1000, 'a positive integer', isCount);
  const predictionType = settings.choose('prediction_type', 'epsilon', ['epsilon']);
  const defaults = schedulerDefaults(settings.className ?? 'DDPMScheduler');
  if (defaults === undefined) {
    const expected =
      "a scheduler with betas, such as 'DDPMScheduler' (the option 'diffusion' can say the schedule instead)";
    settings.refuse('_class_name', expected, settings.className);
    // Its other settings are of another process.
    return { timesteps, predictionType };
  }
  const betaStart = settings.take('beta_start', defaults.betaStart ?? 1e-4, 'a number', isNumber);
  const betaEnd = settings.take('beta_end', defaults.betaEnd ?? 0.02, 'a number', isNumber);
  const betaSchedule =
    schedules[settings.choose('beta_schedule', defaults.betaSchedule ?? 'linear', keysOf(schedules))];
  const betas = settings.take('trained_betas', null, 'an array of numbers or null', isNumbersOrNull);
  // Null where a class leaves the variance to the network's output.
  const variance = settings.choose('variance_type', null, [...keysOf(variances), null]);
  const varianceType = variances[variance ?? 'fixed_small'];
  const clipsByDefault = defaults.clipSample ?? true;
  const clipSample = settings.takeRenamed(
    'clip_sample',
    'clip_predicted_image',
    clipsByDefault,
    'true or false',
    isFlag,
  );
  const clipRange = settings.take('clip_sample_range', 1, 'a number', isNumber);
  settings.choose('predict_epsilon', true, [true]);
  settings.choose('timestep_values', null, [null]);

  settings.choose('rescale_betas_zero_snr', false, [false]);
  settings.choose('thresholding', false, [false]);
  settings.choose('timestep_type', 'discrete', ['discrete']);
  settings.choose('use_flow_sigmas', false, [false]);
  // Each call of `sample()` says which steps it takes.
  settings.choose('timestep_spacing', 'leading', timestepSpacings);
  settings.take('steps_offset', 0, 'an integer', isInteger);
  for (const name of samplerSettings) settings.pass(name);
  // It named an array library in 2022.
  settings.take('tensor_format', null, 'a string or null', isTextOrNull);
  settings.refuseUnknown();

  if (settings.problems.length === 0) {
    if (clipSample && clipRange !== 1) settings.refuse('clip_sample_range', '1', clipRange);
    if (betas !== null && betas.length !== timesteps) {
      settings.refuse('num_train_timesteps', `${betas.length}, the length of trained_betas`, timesteps);
    }
  }
  const process = { timesteps, predictionType, varianceType, clipSample };
  // A value that the schedule does not use is left out: ours refuses it.
  if (betas !== null) return { ...process, betas };
  if (betaSchedule === 'cosine') return { ...process, betaSchedule };
  return { ...process, betaSchedule, betaStart, betaEnd };
}

function unetFile({ image, unet, diffusion }: ResolvedConfig): JsonObject {
  const levels = levelsOf(image, unet);
  const down = levels.map(({ attention }) => (attention ? 'AttnDownBlock2D' : 'DownBlock2D'));
  const up = levels.map(({ attention }) => (attention ? 'AttnUpBlock2D' : 'UpBlock2D')).reverse();
  return {
    _class_name: 'UNet2DModel',
    _diffusers_version: DIFFUSERS_VERSION,
    act_fn: 'silu',
    add_attention: true,
    attention_head_dim: unet.attentionHeadChannels,
    attn_norm_num_groups: null,
    block_out_channels: levels.map(({ channels }) => channels),
    center_input_sample: false,
    class_embed_type: null,
    down_block_types: down,
    downsample_padding: unet.downsamplePadding === 'asymmetric' ? 0 : 1,
    downsample_type: 'conv',
    dropout: unet.dropout,
    flip_sin_to_cos: unet.flipSinToCos,
    freq_shift: unet.frequencyShift,
    in_channels: image.channels,
    layers_per_block: unet.blocksPerLevel,
    mid_block_scale_factor: 1,
    mid_block_type: 'UNetMidBlock2D',
    norm_eps: unet.normEpsilon,
    norm_num_groups: unet.normGroups,
    num_class_embeds: unet.classes === 0 ? null : unet.classes,
    num_train_timesteps: null,
    out_channels: diffusion.varianceType === 'learned_range' ? 2 * image.channels : image.channels,
    resnet_time_scale_shift: 'default',
    sample_size: image.height === image.width ? image.height : [image.height, image.width],
    time_embedding_dim: null,
    time_embedding_type: 'positional',
    up_block_types: up,
    upsample_type: 'conv',
  };
}

function schedulerFile({ diffusion }: ResolvedConfig): JsonObject {
  return {
    _class_name: 'DDPMScheduler',
    _diffusers_version: DIFFUSERS_VERSION,
    beta_end: diffusion.betaEnd,
    beta_schedule: keysOf(schedules).find((name) => schedules[name] === diffusion.betaSchedule),
    beta_start: diffusion.betaStart,
    clip_sample: diffusion.clipSample,
    clip_sample_range: 1,
    dynamic_thresholding_ratio: 0.995,
    num_train_timesteps: diffusion.timesteps,
    prediction_type: diffusion.predictionType,
    rescale_betas_zero_snr: false,
    sample_max_value: 1,
    steps_offset: 0,
    thresholding: false,
    timestep_spacing: 'leading',
    trained_betas: diffusion.betas,
    variance_type: diffusion.varianceType,
  };
}

/** What is wrong with a setting. */
interface Problem {
  setting: string;
  line: string;
}

/** The settings of one file, taken one by one; what is wrong with them is gathered. */
class Settings {
  problems: readonly Problem[] = [];
  private readonly known: string[] = [];
  private readonly values: ReadonlyMap<string, unknown>;

  constructor(
    private readonly file: string,
    json: JsonObject,
  ) {
    this.values = new Map(Object.entries(json));
  }

  /** The setting where `allowed` takes it, else (with a problem noted) and where it is absent the default. */
  take<T>(key: string, fallback: T, expected: string, allowed: (value: unknown) => value is T): T {
    this.known.push(key);
    const value = this.values.has(key) ? this.values.get(key) : fallback;
    if (allowed(value)) return value;
    this.refuse(key, expected, value);
    return fallback;
  }

  /** {@link take} for a setting that had another name once. A file with both must give them one value. */
  takeRenamed<T>(
    key: string,
    oldKey: string,
    fallback: T,
    expected: string,
    allowed: (value: unknown) => value is T,
  ): T {
    if (!this.values.has(oldKey)) {
      this.known.push(oldKey);
      return this.take(key, fallback, expected, allowed);
    }
    const old = this.take(oldKey, fallback, expected, allowed);
    const value = this.take(key, old, expected, allowed);
    if (value !== old) this.refuse(oldKey, `the value of ${key} (${value}), which it was called before`, old);
    return value;
  }

  /** A setting that must be one of some values. */
  choose<const T extends string | number | boolean | null>(key: string, fallback: T, values: readonly T[]): T {
    const expected = values.map((value) => (typeof value === 'string' ? `'${value}'` : String(value))).join(' or ');
    return this.take(key, fallback, expected, (value): value is T => values.includes(value as T));
  }

  /** Leaves a setting aside, whatever its value. */
  pass(key: string): void {
    this.known.push(key);
  }

  /** The name of the class that wrote the file; undefined where it is not given. */
  get className(): unknown {
    return this.values.get('_class_name');
  }

  /** Checks the name of the class that wrote the file, where it is given. */
  takeClass(names: readonly string[]): void {
    if (this.values.has('_class_name')) this.choose('_class_name', names[0], names);
  }

  refuse(key: string, expected: string, value: unknown): void {
    this.#add(key, invalidLine(`${this.file}: ${key}`, expected, value));
  }

  /** Takes back the problems that do not count. */
  forgive(isForgiven: (problem: Problem) => boolean): void {
    this.problems = this.problems.filter((problem) => !isForgiven(problem));
  }

  /**
   * Refuses the settings that nobody took: they may change the network. Null means that a setting is off, and names with
   * an underscore are notes, which diffusers itself drops.
   */
  refuseUnknown(): void {
    const unknown = [...this.values.keys()].filter(
      (key) => !this.known.includes(key) && !key.startsWith('_') && this.values.get(key) !== null,
    );
    if (unknown.length === 0) return;
    const names = unknown.slice(0, MOST_UNKNOWN).map((key) => {
      const name = key.slice(0, LONGEST_NAME);
      const nearest = nearestName(name, this.known);
      return nearest === undefined ? name : `${name} (did you mean ${nearest}?)`;
    });
    if (unknown.length > MOST_UNKNOWN) names.push(`${unknown.length - MOST_UNKNOWN} more`);
    this.#add('', `${this.file}: unknown settings: ${names.join(', ')}`);
  }

  #add(setting: string, line: string): void {
    this.problems = [...this.problems, { setting, line }];
  }
}

type Size = number | number[] | null;

const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every(isCount);
const isInteger = (value: unknown): value is number => Number.isSafeInteger(value);
const isCountOrNull = (value: unknown): value is number | null => value === null || isCount(value);
const isTextOrNull = (value: unknown): value is string | null => value === null || typeof value === 'string';
const isSize = (value: unknown): value is Size => isCount(value) || (isCounts(value) && value.length === 2);
const isNumbersOrNull = (value: unknown): value is number[] | null =>
  value === null || (Array.isArray(value) && value.every(isNumber));

/** Block types by name, also with the prefix that some had in 2022. */
function isBlocks(names: readonly string[]): (value: unknown) => value is string[] {
  const all = names.flatMap((name) => [name, blockPrefix + name]);
  return (value): value is string[] => Array.isArray(value) && value.every((name) => all.includes(name));
}

function sidesOf(size: Size): [number, number] {
  return Array.isArray(size) ? [size[0], size[1]] : [size ?? 0, size ?? 0];
}

function heightOf(size: Size): number {
  return sidesOf(size)[0];
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}
