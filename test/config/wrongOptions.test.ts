/**
 * Every field of every option object against wrong values, by the full text of the message. The fields are the ones that
 * an object itself says it knows: one that is added without a row here fails the first test of its object.
 */
import {
  type CheckpointOptions,
  type DdpmConfig,
  type DiffusionOptions,
  type DiffusionStepOptions,
  type EmaOptions,
  type HubOptions,
  type LoadOptions,
  type OptimizerOptions,
  type ParametersOptions,
  type PredictOptions,
  type ResumeOptions,
  resolveConfig,
  resolveDiffusionStepOptions,
  resolveHubOptions,
  resolveLoadOptions,
  resolveParametersOptions,
  resolvePredictOptions,
  resolveResumeOptions,
  resolveSampleOptions,
  resolveSaveCheckpointOptions,
  resolveSaveOptions,
  resolveTrainOptions,
  resolveTrainStepOptions,
  type SampleOptions,
  type SaveCheckpointOptions,
  type SaveOptions,
  type TrainOptions,
  type TrainStepOptions,
  type UNetOptions,
} from '../../lib/config';
import { DdpmError } from '../../lib/errors';

interface Row {
  /** What the message says is allowed. */
  expected: string;
  accepts: unknown[];
  /** A value, how the message shows it and, where they differ from the row's, the field and what is allowed. */
  refuses: [value: unknown, shown: string, path?: string, expected?: string][];
}

interface OptionObject {
  name: string;
  /** What stands before a field's name in messages. */
  prefix: string;
  /** Resolves options that are right but for one field. */
  resolve(key: string, value: unknown): unknown;
  rows: Record<string, Row>;
}

const shape = { size: 8, channels: 1 };
const model: DdpmConfig = { image: shape, unet: { channels: 8, channelMultipliers: [1, 2], normGroups: 2 } };
const plain = resolveConfig(model);
const pixels = () => new Float32Array(64);

const NULL: Row['refuses'][0] = [null, 'null (null)'];
const wrongTypes: Row['refuses'] = [
  ['8', "'8' (string)"],
  [true, 'true (boolean)'],
  [[], '[] (array)'],
  [{}, '{} (object)'],
  [10n, '10n (bigint)'],
];
const notNumbers: Row['refuses'] = [
  ...wrongTypes,
  NULL,
  [NaN, 'NaN (number)'],
  [Infinity, 'Infinity (number)'],
  [-Infinity, '-Infinity (number)'],
];

function numbers(expected: string, accepts: number[], outside: number[]): Row {
  return {
    expected,
    accepts,
    refuses: [...notNumbers, ...outside.map((n): Row['refuses'][0] => [n, `${n} (number)`])],
  };
}

const integers = (min: number, max: number, accepts = [min, max]) =>
  numbers(`an integer from ${min} to ${max}`, accepts, [min - 1, min - 0.5, min + 0.5, max + 1]);
const countable = (min: 0 | 1, accepts: number[] = [min, 2 ** 40]) =>
  numbers(min === 1 ? 'a positive integer' : 'an integer of at least 0', accepts, [min - 1, 1.5, 2 ** 53]);
const positive = (accepts: number[] = [1e-12, 10]) => numbers('a positive number', accepts, [0, -1]);
const nonNegative = (accepts: number[]) => numbers('a number of at least 0', accepts, [-1e-9]);
const fraction = () => numbers('a number of at least 0 and below 1', [0, 0.999], [-0.1, 1]);
const openFraction = () => numbers('a number between 0 and 1, both excluded', [1e-9, 0.999], [0, 1, -0.1]);

const flag: Row = {
  expected: 'true or false',
  accepts: [true, false],
  refuses: [NULL, ['true', "'true' (string)"], [1, '1 (number)'], [NaN, 'NaN (number)'], [[], '[] (array)']],
};

function choice(names: string[], expected: string, notYet: string[] = []): Row {
  return {
    expected,
    accepts: names,
    refuses: [
      NULL,
      [0, '0 (number)'],
      [NaN, 'NaN (number)'],
      ['', "'' (string)"],
      [names[0].toUpperCase(), `'${names[0].toUpperCase()}' (string)`],
      [names, `[ ${names.map((name) => `'${name}'`).join(', ')} ] (array)`],
      ...notYet.map((name): Row['refuses'][0] => [name, `'${name}' (string), which is not supported by this version`]),
    ],
  };
}

function orNull(row: Row): Row {
  return {
    expected: `${row.expected}, or null`,
    accepts: [...row.accepts, null],
    refuses: row.refuses.filter((refusal) => refusal !== NULL),
  };
}

function group(expected = 'an object', accepts: unknown[] = [{}]): Row {
  return { expected, accepts, refuses: [NULL, [5, '5 (number)'], [[], '[] (array)'], ['x', "'x' (string)"]] };
}

const callback: Row = {
  expected: 'a function',
  accepts: [() => undefined],
  refuses: [NULL, [1, '1 (number)'], ['f', "'f' (string)"], [{}, '{} (object)']],
};

const signal: Row = {
  expected: 'an AbortSignal',
  accepts: [new AbortController().signal, AbortSignal.abort()],
  refuses: [
    NULL,
    [true, 'true (boolean)'],
    [{ aborted: false }, '{ aborted: false } (object)'],
    [new Map(), 'Map(0) {} (Map)'],
  ],
};

/** Images of the model `plain`; `count` is 'n' where any number will do. */
function images(field: string, count: number | 'n', checksValues = false): Row {
  const shapeText = `[${count}, 1, 8, 8]`;
  const length = count === 'n' ? 'a multiple of 64' : `${count * 64}`;
  const given = { data: pixels(), shape: [1, 1, 4, 16] };
  const row: Row = {
    expected: `a Float32Array or { data: Float32Array, shape } of shape ${shapeText}`,
    accepts: [pixels(), { data: pixels(), shape: [1, 1, 8, 8] }],
    refuses: [
      NULL,
      [NaN, 'NaN (number)'],
      ['x', "'x' (string)"],
      [[0, 0], '[ 0, 0 ] (array)'],
      [{ data: [0], shape: [1, 1, 8, 8] }, '{ data: [Array], shape: [Array] } (object)'],
      [new Float64Array(1), 'Float64Array(1) [ 0 ] (Float64Array)'],
      [new Float32Array(65), '65 (number)', `${field}.length`, `${length} (shape ${shapeText})`],
      [new Float32Array(0), '0 (number)', `${field}.length`, `${length} (shape ${shapeText})`],
      [given, '[ 1, 1, 4, 16 ] (array)', `${field}.shape`, shapeText],
      [{ ...given, shape: [0, 1, 8, 8] }, '[ 0, 1, 8, 8 ] (array)', `${field}.shape`, shapeText],
      [{ ...given, shape: [1, 8, 8] }, '[ 1, 8, 8 ] (array)', `${field}.shape`, shapeText],
      [{ data: new Float32Array(63), shape: [1, 1, 8, 8] }, '63 (number)', `${field}.data.length`, '64'],
    ],
  };
  if (checksValues) {
    for (const bad of [NaN, Infinity, -Infinity]) {
      row.refuses.push([pixels().fill(bad, 7), `${bad} (number)`, `${field}[7]`, 'a finite number']);
    }
  }
  return row;
}

/** One integer, or one for each of a single image. */
function integerEach(field: string, end: number): Row {
  const one = `an integer from 0 to ${end - 1}`;
  return {
    expected: `${one}, or an array of 1 of them (one an image)`,
    accepts: [0, end - 1, [0], [end - 1], new Int32Array([1])],
    refuses: [
      ...notNumbers,
      [-1, '-1 (number)'],
      [0.5, '0.5 (number)'],
      [end, `${end} (number)`],
      [[0, 0], '[ 0, 0 ] (array)'],
      [[end], `${end} (number)`, `${field}[0]`, one],
      [[NaN], 'NaN (number)', `${field}[0]`, one],
      [[null], 'null (null)', `${field}[0]`, one],
      [new Int32Array([-1]), '-1 (number)', `${field}[0]`, one],
    ],
  };
}

const noClasses: Row = {
  expected: 'no value (the model has no classes: unet.classes is 0)',
  accepts: [],
  refuses: [NULL, [0, '0 (number)'], [[0], '[ 0 ] (array)'], [NaN, 'NaN (number)']],
};

function multiplierRow(): Row {
  const element = 'a positive number';
  return {
    expected: 'an array of 1 to 12 positive numbers',
    accepts: [[1], [0.5, 4], Object.freeze([1, 1])],
    refuses: [
      NULL,
      [2, '2 (number)'],
      [NaN, 'NaN (number)'],
      [[], '[] (array)'],
      [new Array(13).fill(1), '[ 1, 1, 1, 1, 1, 1, 1, 1, ... 5 more items ] (array)'],
      [[1, 0], '0 (number)', 'unet.channelMultipliers[1]', element],
      [[NaN], 'NaN (number)', 'unet.channelMultipliers[0]', element],
      [[1, '2'], "'2' (string)", 'unet.channelMultipliers[1]', element],
    ],
  };
}

const unet: Record<keyof Required<UNetOptions>, Row> = {
  channels: integers(1, 8192, [4, 8192]),
  channelMultipliers: multiplierRow(),
  blocksPerLevel: integers(1, 64),
  attentionResolutions: {
    expected: 'an array of heights of levels',
    accepts: [[], [8], [4, 8]],
    refuses: [
      NULL,
      [8, '8 (number)'],
      [NaN, 'NaN (number)'],
      [[NaN], 'NaN (number)', 'unet.attentionResolutions[0]', 'a positive integer'],
      [[8, -4], '-4 (number)', 'unet.attentionResolutions[1]', 'a positive integer'],
    ],
  },
  attentionHeadChannels: orNull(countable(1, [1, 4, 8])),
  dropout: fraction(),
  normGroups: countable(1, [1, 8]),
  normEpsilon: positive(),
  classes: integers(0, 1_000_000),
  downsamplePadding: choice(['asymmetric', 'symmetric'], "'asymmetric' or 'symmetric'"),
  flipSinToCos: flag,
  frequencyShift: nonNegative([0, 1, 0.5]),
};

const betas: Row = {
  expected: 'an array of 1 to 1000000 numbers between 0 and 1, both excluded, or null',
  accepts: [[0.5], [0.1, 0.2], null],
  refuses: [
    [0.1, '0.1 (number)'],
    [NaN, 'NaN (number)'],
    [[], '[] (array)'],
    [new Float64Array(1).fill(0.1), 'Float64Array(1) [ 0.1 ] (Float64Array)'],
    [[0.1, 1], '1 (number)', 'diffusion.betas[1]', 'a number between 0 and 1, both excluded'],
    [[0], '0 (number)', 'diffusion.betas[0]', 'a number between 0 and 1, both excluded'],
    [[NaN], 'NaN (number)', 'diffusion.betas[0]', 'a number between 0 and 1, both excluded'],
  ],
};

const diffusion: Record<keyof Required<DiffusionOptions>, Row> = {
  timesteps: integers(1, 1_000_000),
  betaSchedule: choice(['linear', 'scaled_linear', 'cosine'], "'linear', 'scaled_linear' or 'cosine'"),
  betaStart: openFraction(),
  betaEnd: openFraction(),
  betas,
  predictionType: choice(['epsilon'], "'epsilon'", ['sample', 'v_prediction']),
  varianceType: choice(
    ['fixed_large', 'fixed_small', 'learned_range'],
    "'fixed_large', 'fixed_small' or 'learned_range'",
  ),
  loss: choice(['simple'], "'simple'", ['hybrid', 'vlb']),
  clipSample: flag,
};

const optimizer: Record<keyof Required<OptimizerOptions>, Row> = {
  learningRate: positive(),
  warmupSteps: countable(0),
  beta1: fraction(),
  beta2: fraction(),
  epsilon: positive(),
  weightDecay: nonNegative([0, 10]),
  gradientClip: orNull(positive()),
};

const ema: Record<keyof Required<EmaOptions>, Row> = { decay: fraction(), warmup: flag };

const config: Record<keyof Required<DdpmConfig>, Row> = {
  image: group('{ size, channels } or { height, width, channels }', [shape, { height: 8, width: 16, channels: 3 }]),
  unet: group(),
  diffusion: group(),
  optimizer: group(),
  ema: group(),
  device: {
    expected: "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'",
    accepts: ['auto', 'cpu', 'cuda', 'cuda:0', 'cuda:15', 'mps'],
    refuses: [
      NULL,
      [0, '0 (number)'],
      ['CPU', "'CPU' (string)"],
      ['cuda:', "'cuda:' (string)"],
      ['cuda:x', "'cuda:x' (string)"],
      ['cuda:01', "'cuda:01' (string)"],
      ['cuda:1 ', "'cuda:1 ' (string)"],
      ['cuda:-1', "'cuda:-1' (string)"],
    ],
  },
  precision: choice(['auto', 'float32', 'tf32', 'bfloat16'], "'auto', 'float32', 'tf32' or 'bfloat16'"),
  seed: integers(0, 2 ** 53 - 1),
};

const train: Record<keyof Required<TrainOptions>, Row> = {
  steps: {
    ...countable(1),
    refuses: [...countable(1).refuses, [undefined, 'undefined (undefined)']],
  },
  batchSize: integers(1, 65536),
  horizontalFlip: flag,
  gradientAccumulation: integers(1, 65536),
  gradientCheckpointing: flag,
  progressEvery: countable(1),
  maxNonFinite: countable(1),
  checkpoint: {
    ...group('an object', [{ directory: 'x' }]),
    refuses: [
      ...group().refuses,
      [{}, 'undefined (undefined)', 'checkpoint.directory', 'the path of a folder'],
      [{ directory: 'x', every: 0 }, '0 (number)', 'checkpoint.every', 'a positive integer'],
    ],
  },
  datasetChange: choice(['refuse', 'accept'], "'refuse' or 'accept'"),
  onProgress: callback,
  signal,
};

const checkpoint: Record<keyof Required<CheckpointOptions>, Row> = {
  directory: {
    expected: 'the path of a folder',
    accepts: ['x', '/tmp/a b/ä'],
    refuses: [
      NULL,
      [undefined, 'undefined (undefined)'],
      ['', "'' (string)"],
      [5, '5 (number)'],
      ['a\0b', "'a\\x00b' (string)"],
    ],
  },
  every: countable(1),
  keep: countable(1),
  metric: callback,
  onSave: callback,
  onError: callback,
};

const trainStep: Record<keyof Required<TrainStepOptions>, Row> = {
  x0: images('x0', 'n'),
  t: integerEach('t', 1000),
  noise: images('noise', 1),
  classLabels: noClasses,
  gradientAccumulation: integers(1, 65536, [1]),
};

const predict: Record<keyof Required<PredictOptions>, Row> = {
  weights: choice(['ema', 'raw'], "'ema' or 'raw'"),
  classLabels: noClasses,
};

const diffusionStep: Record<keyof Required<DiffusionStepOptions>, Row> = { noise: images('noise', 1) };

const sample: Record<keyof Required<SampleOptions>, Row> = {
  sampler: choice(['ddpm', 'ddim'], "'ddpm' or 'ddim'", ['dpmsolver++']),
  steps: countable(1, [1, 1000]),
  eta: numbers('a number from 0 to 1', [0, 0.5, 1], [-0.1, 1.1]),
  timestepSpacing: choice(['leading', 'trailing', 'linspace'], "'leading', 'trailing' or 'linspace'"),
  seed: integers(0, 2 ** 53 - 1),
  batchSize: integers(1, 65536),
  weights: choice(['ema', 'raw'], "'ema' or 'raw'"),
  noise: images('noise', 1, true),
  classLabels: noClasses,
  output: choice(['uint8', 'float32'], "'uint8' or 'float32'"),
  onProgress: callback,
  signal,
};

const load: Record<keyof Required<LoadOptions>, Row> = {
  variant: {
    expected: 'a name of letters, digits, _ and -',
    accepts: ['fp16', 'non-ema', 'a_1'],
    refuses: [
      ['', "'' (string)"],
      ['../fp16', "'../fp16' (string)"],
      ['fp16.safetensors', "'fp16.safetensors' (string)"],
      [16, '16 (number)'],
      [null, 'null (null)'],
    ],
  },
  diffusion: group(),
  device: config.device,
  precision: config.precision,
  optimizer: group(),
  ema: group(),
  seed: config.seed,
  signal,
};

const hub: Record<keyof Required<HubOptions>, Row> = {
  ...load,
  revision: {
    expected: 'the name of a branch or tag, or a commit',
    accepts: ['main', 'v1.0', 'refs/pr/1', 'feature/a+b', '0'.repeat(40)],
    refuses: [
      ...wrongTypes.slice(1),
      NULL,
      ['', "'' (string)"],
      ['../main', "'../main' (string)"],
      ['a..b', "'a..b' (string)"],
      ['a//b', "'a//b' (string)"],
      ['a b', "'a b' (string)"],
      ['a/', "'a/' (string)"],
      ['a?b', "'a?b' (string)"],
      ['a@{1}', "'a@{1}' (string)"],
    ],
  },
  cacheDir: {
    expected: 'the path of a folder',
    accepts: ['cache', '/var/cache/models'],
    refuses: [...wrongTypes.slice(1), NULL, ['', "'' (string)"], ['a\0', "'a\\x00' (string)"]],
  },
  token: {
    expected: 'a string that is not empty',
    accepts: ['hf_abc', ' hf_abc\n'],
    refuses: [...wrongTypes.slice(1), NULL, ['', "'' (string)"]],
  },
  hubUrl: {
    expected: 'an address that begins with https:// or http://',
    accepts: ['https://example.com', 'http://localhost:8080/hub/'],
    refuses: [
      ...wrongTypes,
      NULL,
      ['', "'' (string)"],
      ['example.com', "'example.com' (string)"],
      ['file:///models', "'file:///models' (string)"],
      ['https://me:word@example.com', "'https://me:word@example.com' (string)"],
      ['https://example.com/?a=b', "'https://example.com/?a=b' (string)"],
    ],
  },
  onProgress: callback,
};

const save: Record<keyof Required<SaveOptions>, Row> = { rawWeights: flag, signal };

const saveCheckpoint: Record<keyof Required<SaveCheckpointOptions>, Row> = {
  keep: countable(1),
  metric: numbers('a finite number', [-1, 0, 1.5], []),
  signal,
};

const resume: Record<keyof Required<ResumeOptions>, Row> = {
  device: config.device,
  precision: config.precision,
  optimizer: group(),
  ema: group(),
  ifNone: {
    ...group('an object', [model]),
    refuses: [
      ...group().refuses,
      [{ ...model, seed: -1 }, '-1 (number)', 'ifNone.seed', 'an integer from 0 to 9007199254740991'],
      [{}, 'undefined (undefined)', 'ifNone.image', '{ size, channels } or { height, width, channels }'],
    ],
  },
  signal,
};

const parameters: Record<keyof Required<ParametersOptions>, Row> = {
  weights: choice(['ema', 'raw', 'gradient'], "'ema', 'raw' or 'gradient'"),
};

const inGroup = (name: keyof DdpmConfig) => (key: string, value: unknown) =>
  resolveConfig({ ...model, [name]: { ...(model[name] as object), [key]: value } });

// Options are built without types, as from JavaScript.
const untyped = <T>(options: object) => options as T;

const objects: OptionObject[] = [
  {
    name: 'the configuration',
    prefix: '',
    resolve: (key, value) => resolveConfig({ ...model, [key]: value }),
    rows: config,
  },
  {
    name: 'a square image',
    prefix: 'image.',
    resolve: inGroup('image'),
    rows: { size: integers(1, 8192, [2, 8192]), channels: integers(1, 4) },
  },
  {
    name: 'an image of two sides',
    prefix: 'image.',
    resolve: (key, value) =>
      resolveConfig({ ...model, image: untyped({ height: 8, width: 8, channels: 1, [key]: value }) }),
    rows: { height: integers(1, 8192, [2, 8192]), width: integers(1, 8192, [2, 8192]), channels: integers(1, 4) },
  },
  { name: 'unet', prefix: 'unet.', resolve: inGroup('unet'), rows: unet },
  { name: 'diffusion', prefix: 'diffusion.', resolve: inGroup('diffusion'), rows: diffusion },
  { name: 'optimizer', prefix: 'optimizer.', resolve: inGroup('optimizer'), rows: optimizer },
  { name: 'ema', prefix: 'ema.', resolve: inGroup('ema'), rows: ema },
  {
    name: 'train',
    prefix: '',
    resolve: (key, value) => resolveTrainOptions(untyped({ steps: 1, [key]: value })),
    rows: train,
  },
  {
    name: 'train.checkpoint',
    prefix: 'checkpoint.',
    resolve: (key, value) =>
      resolveTrainOptions(untyped({ steps: 1, checkpoint: untyped({ directory: 'x', [key]: value }) })),
    rows: checkpoint,
  },
  {
    name: 'trainStep',
    prefix: '',
    resolve: (key, value) =>
      resolveTrainStepOptions(untyped({ x0: pixels(), t: 0, noise: pixels(), [key]: value }), plain),
    rows: trainStep,
  },
  {
    name: 'predictNoise',
    prefix: '',
    resolve: (key, value) => resolvePredictOptions(pixels(), 0, untyped({ [key]: value }), plain),
    rows: predict,
  },
  {
    name: 'diffusion.step',
    prefix: '',
    resolve: (key, value) => resolveDiffusionStepOptions(untyped({ [key]: value }), 1, plain),
    rows: diffusionStep,
  },
  {
    name: 'sample',
    prefix: '',
    resolve: (key, value) =>
      resolveSampleOptions(1, untyped({ ...(key === 'eta' ? { sampler: 'ddim' } : {}), [key]: value }), plain),
    rows: sample,
  },
  {
    name: 'load',
    prefix: '',
    resolve: (key, value) => resolveLoadOptions('folder', untyped({ [key]: value })),
    rows: load,
  },
  {
    name: 'fromHub',
    prefix: '',
    resolve: (key, value) => resolveHubOptions('owner/name', untyped({ [key]: value })),
    rows: hub,
  },
  {
    name: 'save',
    prefix: '',
    resolve: (key, value) => resolveSaveOptions('folder', untyped({ [key]: value })),
    rows: save,
  },
  {
    name: 'saveCheckpoint',
    prefix: '',
    resolve: (key, value) => resolveSaveCheckpointOptions('folder', untyped({ [key]: value })),
    rows: saveCheckpoint,
  },
  {
    name: 'resume',
    prefix: '',
    resolve: (key, value) => resolveResumeOptions('folder', untyped({ [key]: value })),
    rows: resume,
  },
  {
    name: 'parameters',
    prefix: '',
    resolve: (key, value) => resolveParametersOptions(untyped({ [key]: value })),
    rows: parameters,
  },
];

/** The message of the error thrown, which must be one of ours. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(DdpmError);
    expect((error as DdpmError).code).toBe('ERR_CONFIG');
    return (error as DdpmError).message;
  }
  throw new Error('nothing was refused');
}

/** The names that an option object says it knows. */
function knownNames(object: OptionObject): string[] {
  const message = refusal(() => object.resolve('qqqqqqqqqq', 1));
  const [, list] = message.split('qqqqqqqqqq: unknown option. Known: ');
  return list.split(', ');
}

describe.each(objects)('$name', (object) => {
  test('every field that it knows has a row', () => {
    // An image is given in one of two forms, and its one schema knows the fields of both.
    const forms = objects.filter(({ prefix }) => prefix === 'image.');
    const rows = object.prefix === 'image.' ? forms.map((form) => form.rows) : [object.rows];
    const fields = new Set(rows.flatMap((table) => Object.keys(table)));
    expect(knownNames(object).sort()).toEqual([...fields].sort());
  });

  const cases = Object.entries(object.rows).flatMap(([key, { expected, refuses }]) =>
    refuses.map(([value, shown, path = `${object.prefix}${key}`, allowed = expected]) => ({
      message: `${path}: expected ${allowed}, got ${shown}`,
      key,
      value,
    })),
  );
  test.each(cases)('$message', ({ message, key, value }) => {
    expect(refusal(() => object.resolve(key, value))).toBe(message);
  });

  const accepted = Object.entries(object.rows).flatMap(([key, { accepts }]) =>
    accepts.map((value) => ({ key, value })),
  );
  if (accepted.length) {
    test.each(accepted)('accepts $key $value', ({ key, value }) => {
      expect(() => object.resolve(key, value)).not.toThrow();
    });
  }

  test.each(Object.keys(object.rows))('a slip in %s is told', (key) => {
    const slips = [`${key}x`, key.toUpperCase(), key.slice(0, -2) + key.slice(-1) + key.slice(-2, -1)];
    for (const slip of slips.filter((name) => !(name in object.rows))) {
      const message = refusal(() => object.resolve(slip, 1));
      expect(message).toBe(
        `${object.prefix}${slip}: unknown option; did you mean '${key}'? Known: ${knownNames(object).join(', ')}`,
      );
    }
  });
});

test.each([
  ['config', 5, '5 (number)', (value: unknown) => resolveConfig(untyped(value as object))],
  ['config', undefined, 'undefined (undefined)', (value: unknown) => resolveConfig(untyped(value as object))],
  ['options', [], '[] (array)', (value: unknown) => resolveTrainOptions(untyped(value as object))],
  ['options', null, 'null (null)', (value: unknown) => resolveTrainStepOptions(untyped(value as object), plain)],
  ['options', null, 'null (null)', (value: unknown) => resolveSampleOptions(1, untyped(value as object), plain)],
  [
    'options',
    'x',
    "'x' (string)",
    (value: unknown) => resolvePredictOptions(pixels(), 0, untyped(value as object), plain),
  ],
  ['options', 1, '1 (number)', (value: unknown) => resolveDiffusionStepOptions(untyped(value as object), 1, plain)],
])('%s as %p', (name, value, shown, resolve) => {
  expect(refusal(() => resolve(value))).toBe(`${name}: expected an object, got ${shown}`);
});

test.each([['guidanceScale', () => resolveSampleOptions(1, untyped({ guidanceScale: 2 }), plain)]])(
  '%s is refused by name',
  (name, resolve) => {
    expect(refusal(resolve)).toBe(`${name}: not supported by this version`);
  },
);

test('an option in the wrong group is sent to the right one', () => {
  const known = 'image, unet, diffusion, optimizer, ema, device, precision, seed';
  const misplaced = (key: string) => refusal(() => resolveConfig(untyped({ ...model, [key]: 1 })));
  expect(misplaced('timesteps')).toBe(`timesteps: unknown option; did you mean 'diffusion.timesteps'? Known: ${known}`);
  expect(misplaced('SIZE')).toBe(`SIZE: unknown option; did you mean 'image.size'? Known: ${known}`);
  expect(misplaced('channels')).toBe(
    `channels: unknown option; did you mean 'image.channels' or 'unet.channels'? Known: ${known}`,
  );
  expect(refusal(() => inGroup('ema')('seed', 1))).toBe(
    "ema.seed: unknown option; did you mean 'seed'? Known: decay, warmup",
  );
});

test('all wrong options are told at once, each on a line', () => {
  const wrong = { ...model, seed: -1.5, unet: { dropout: 2, groups: 1 }, ema: null };
  expect(
    refusal(() => resolveConfig(untyped(wrong)))
      .split('\n')
      .sort(),
  ).toEqual([
    'ema: expected an object, got null (null)',
    'seed: expected an integer from 0 to 9007199254740991, got -1.5 (number)',
    'unet.dropout: expected a number of at least 0 and below 1, got 2 (number)',
    expect.stringMatching(/^unet\.groups: unknown option\. Known: channels, /),
  ]);
});

test('an array that is wrong throughout is told in part', () => {
  const betas = new Array(200_000).fill(2);
  const lines = refusal(() => resolveConfig({ ...model, diffusion: { betas } })).split('\n');
  expect(lines).toHaveLength(11);
  expect(lines[9]).toBe('diffusion.betas[9]: expected a number between 0 and 1, both excluded, got 2 (number)');
  expect(lines[10]).toBe('and 199990 more');
});

test('a key named __proto__ is as unknown as any', () => {
  const parsed = JSON.parse('{ "steps": 1, "__proto__": { "batchSize": 2 } }');
  expect(refusal(() => resolveTrainOptions(parsed))).toMatch(/^__proto__: unknown option\. Known: steps, /);
});
