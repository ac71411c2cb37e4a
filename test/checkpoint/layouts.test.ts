/** The layouts that models come in: folders built from the reference ones by moving, cutting up and converting files. */
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadWeights, readModelFolder } from '../../lib/checkpoint';
import type { Dtype } from '../../lib/checkpoint/formats/dtypes';
import { SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/formats/safetensors';
import { isWeightsFile, variantsOf, weightsFiles } from '../../lib/checkpoint/model/layout';
import { type DiffusionOptions, type ResolvedConfig, resolveConfig } from '../../lib/config';
import { FakeModel, type FakeWeights, unetParameters } from '../helpers/fakeModel';
import { referencePath } from '../helpers/fixtures';
import { failure, temporaryFolder } from '../helpers/folder';
import { pickle, torchArchive } from '../helpers/torchArchive';

const folder = temporaryFolder();
const name = 'legacy-16';
const original = referencePath('unet', name);
const WEIGHTS = 'diffusion_pytorch_model';

interface Tensor {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  bytes: Buffer;
}

let tensors: Tensor[];
let expected: { config: ResolvedConfig; values: Map<string, Float32Array> };

beforeAll(async () => {
  tensors = await tensorsOf(join(original, `unet/${WEIGHTS}.safetensors`));
  expected = await load(original);
});

async function tensorsOf(path: string): Promise<Tensor[]> {
  const file = await SafetensorsFile.open(path);
  const all: Tensor[] = [];
  for (const tensor of file.tensors.values()) {
    const chunks: Buffer[] = [];
    for await (const chunk of file.chunks(tensor.name)) chunks.push(Buffer.from(chunk));
    const { name, dtype, shape } = tensor;
    all.push({ name, dtype, shape, bytes: Buffer.concat(chunks) });
  }
  await file.close();
  return all;
}

/** What `Ddpm.load` does. */
async function load(
  path: string,
  options: { variant?: string; diffusion?: DiffusionOptions } = {},
): Promise<{ config: ResolvedConfig; values: Map<string, Float32Array>; raw: Map<string, Float32Array> }> {
  const { config, weights, rawWeights } = await readModelFolder(path, options);
  try {
    const resolved = resolveConfig({ ...config, diffusion: { ...config.diffusion, ...options.diffusion } });
    const model = new FakeModel(unetParameters(resolved));
    await loadWeights(weights, model, { raw: rawWeights });
    const [ema, raw] = [model.sets.get('ema'), model.sets.get('raw')] as FakeWeights[];
    return { config: resolved, values: ema.values, raw: raw.values };
  } finally {
    await weights.close();
    await rawWeights?.close();
  }
}

function expectOriginal(loaded: { config: ResolvedConfig; values: Map<string, Float32Array> }): void {
  expect(loaded.config).toEqual(expected.config);
  expectValues(loaded.values, expected.values);
}

function expectValues(values: Map<string, Float32Array>, wanted: Map<string, Float32Array>): void {
  const bytes = (array?: Float32Array) => array && Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  const different = [...wanted].filter(([key, array]) => !bytes(values.get(key))?.equals(bytes(array) as Buffer));
  expect(different.map(([key]) => key)).toEqual([]);
  expect(values.size).toBe(wanted.size);
}

/** A copy of the original, changed. */
function changed(change: (path: string) => void, place = 'model'): string {
  const path = join(folder(), place);
  cpSync(original, path, { recursive: true });
  change(path);
  return path;
}

const without =
  (...files: string[]) =>
  (path: string) => {
    for (const file of files) rmSync(join(path, file), { recursive: true });
  };

function writeTensors(path: string, some: readonly Tensor[], metadata?: Record<string, string>): Promise<void> {
  return writeSafetensors(
    path,
    some.map((tensor) => ({ ...tensor, chunks: () => [tensor.bytes] })),
    { metadata },
  );
}

/** As `torch.save` writes them. */
function writePickled(path: string, some: readonly Tensor[]): void {
  const entries = some.map(({ name, shape, bytes }, i): [Buffer, Buffer] => {
    const storage = pickle.storage('FloatStorage', String(i), bytes.length / 4);
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, size) => product * size, 1));
    return [pickle.text(name), pickle.tensor(storage, 0, shape, strides)];
  });
  const storages = Object.fromEntries(some.map(({ bytes }, i) => [String(i), bytes]));
  writeFileSync(path, torchArchive(pickle.program(pickle.orderedDict(...entries)), storages));
}

/** The same values twice as large, to tell two sets of weights from each other. */
function doubled(some: readonly Tensor[]): Tensor[] {
  return some.map((tensor) => {
    const values = new Float32Array(new Uint8Array(tensor.bytes).buffer).map((value) => 2 * value);
    return { ...tensor, bytes: Buffer.from(values.buffer) };
  });
}

const twice = (values: Map<string, Float32Array>) =>
  new Map([...values].map(([key, array]) => [key, array.map((value) => 2 * value)]));

describe('where the files are', () => {
  test('all in one folder, as in 2022', async () => {
    const flat = changed((path) => {
      for (const file of ['unet/config.json', `unet/${WEIGHTS}.safetensors`, 'scheduler/scheduler_config.json'])
        renameSync(join(path, file), join(path, basename(file)));
      without('unet', 'scheduler')(path);
    });
    expectOriginal(await load(flat));
  });

  test('a part that has a folder is in it, whatever lies beside', async () => {
    const path = changed((path) => {
      for (const file of ['config.json', `${WEIGHTS}.safetensors`, 'scheduler_config.json'])
        writeFileSync(join(path, file), 'nonsense');
    });
    expectOriginal(await load(path));
  });

  test.each<[string, (path: string) => string]>([
    ['a pipeline without its index', (path) => path],
    ['the folder of a network, with the scheduler’s beside', (path) => join(path, 'unet')],
    [
      'the folder of a network, with the scheduler’s file in it',
      (path) => {
        renameSync(join(path, 'scheduler/scheduler_config.json'), join(path, 'unet/scheduler_config.json'));
        renameSync(join(path, 'unet'), join(path, 'mine'));
        return join(path, 'mine');
      },
    ],
    [
      'the folder of a network, with the scheduler’s folder in it',
      (path) => {
        renameSync(join(path, 'scheduler'), join(path, 'unet/scheduler'));
        renameSync(join(path, 'unet'), join(path, 'mine'));
        return join(path, 'mine');
      },
    ],
    [
      'files of both in one folder without an index',
      (path) => {
        renameSync(join(path, 'scheduler/scheduler_config.json'), join(path, 'unet/scheduler_config.json'));
        return join(path, 'unet');
      },
    ],
  ])('%s', async (_, place) => {
    expectOriginal(await load(place(changed(without('model_index.json')))));
  });

  test('the network of a whole pipeline', async () => {
    expectOriginal(
      await load(
        join(
          changed(() => {}),
          'unet',
        ),
      ),
    );
    const latent = changed(
      (path) => writeFileSync(join(path, 'model_index.json'), '{"_class_name": "LDMPipeline"}'),
      'latent',
    );
    expect(await failure(load(join(latent, 'unet')), 'ERR_CHECKPOINT')).toContain(
      "model_index.json: _class_name: expected 'DDPMPipeline', 'DDIMPipeline', 'PNDMPipeline' or 'RePaintPipeline', got 'LDMPipeline'",
    );
  });

  test('a folder beside unet/ is not looked at for a network that is called otherwise', async () => {
    const path = changed((path) => renameSync(join(path, 'unet'), join(path, 'mine')));
    expect(await failure(load(join(path, 'mine')), 'ERR_CHECKPOINT')).toContain('mine: there is no scheduler/');
  });

  test.each<[string, (path: string) => string]>([
    ['a pipeline', (path) => path],
    ['a network', (path) => join(path, 'unet')],
  ])('%s without a schedule needs one from the caller', async (_, place) => {
    const path = place(changed(without('scheduler')));
    expect(await failure(load(path), 'ERR_CHECKPOINT')).toBe(
      `${path}: there is no scheduler/scheduler_config.json and no scheduler_config.json, which tell the schedule that the ` +
        'network was trained with: say it, as in Ddpm.load(directory, { diffusion: { timesteps: 1000, ' +
        "betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02 } })",
    );
    const diffusion = { timesteps: 50, betaEnd: 0.1 };
    const { config, values } = await load(path, { diffusion });
    expect(config.diffusion).toMatchObject({ ...diffusion, betaStart: 1e-4, varianceType: 'fixed_large' });
    expectValues(values, expected.values);
  });

  test('the caller’s variance decides how many output channels there must be', async () => {
    const path = join(folder(), 'learned');
    cpSync(referencePath('unet', 'learned-sigma-16', 'unet'), path, { recursive: true });
    expect(await failure(load(path, { diffusion: {} }), 'ERR_CHECKPOINT')).toContain(
      "out_channels: expected 3 (for variance_type 'fixed_large' and in_channels 3), got 6",
    );
    const { config } = await load(path, { diffusion: { varianceType: 'learned_range' } });
    expect(config.diffusion.varianceType).toBe('learned_range');
  });

  test.each<[string, (path: string) => string]>([
    ['itself', (path) => path],
    ['its network', (path) => join(path, 'unet')],
  ])('a pipeline into which a save was cut off is refused: %s', async (_, place) => {
    const path = changed((path) => {
      const stage = join(path, '.ddpm-save-0123456789ab');
      mkdirSync(join(stage, 'old'), { recursive: true });
      renameSync(join(path, 'model_index.json'), join(stage, 'old', 'model_index.json'));
    });
    expect(await failure(load(place(path)), 'ERR_CHECKPOINT')).toMatch(
      /a save into it is under way or was cut off, and .*0123456789ab has the files/,
    );
  });
});

describe('the keys of 2022', () => {
  test('a folder as they were published', async () => {
    const { config, values } = await load(join(__dirname, '../fixtures/flat-2022'));
    expect(config).toMatchObject({
      image: { height: 8, width: 8, channels: 1 },
      unet: { channels: 8, channelMultipliers: [1, 1], attentionResolutions: [4], downsamplePadding: 'asymmetric' },
      diffusion: { timesteps: 1000, betaStart: 1e-4, betaEnd: 0.02, varianceType: 'fixed_large', clipSample: true },
    });
    expect([...values.keys()]).toContain('mid_block.attentions.0.to_out.0.weight');
  });
});

/** A folder whose weights are in three files with an index. */
function sharded(form: 'safetensors' | 'bin', variant?: string): Promise<string> {
  const path = changed(without(`unet/${WEIGHTS}.safetensors`));
  return writeShards(path, form, tensors, variant);
}

async function writeShards(
  path: string,
  form: 'safetensors' | 'bin',
  some: readonly Tensor[],
  variant?: string,
): Promise<string> {
  const weightMap: Record<string, string> = {};
  const dotted = variant ? `.${variant}` : '';
  for (let i = 0; i < 3; i++) {
    const file = `${WEIGHTS}${dotted}-0000${i + 1}-of-00003.${form}`;
    const part = some.filter((_, index) => index % 3 === i);
    for (const tensor of part) weightMap[tensor.name] = file;
    if (form === 'bin') writePickled(join(path, 'unet', file), part);
    else await writeTensors(join(path, 'unet', file), part);
  }
  const index = { metadata: { total_size: 1 }, weight_map: weightMap };
  writeFileSync(join(path, 'unet', `${WEIGHTS}.${form}.index${dotted}.json`), JSON.stringify(index));
  return path;
}

describe('several files with an index', () => {
  test.each(['safetensors', 'bin'] as const)('%s', async (form) => {
    expectOriginal(await load(await sharded(form)));
  });

  async function broken(change: (map: Record<string, unknown>, path: string) => unknown): Promise<string> {
    const path = await sharded('safetensors');
    const index = join(path, `unet/${WEIGHTS}.safetensors.index.json`);
    const json = JSON.parse(readFileSync(index, 'utf8'));
    const map = change(json.weight_map, path) ?? json.weight_map;
    writeFileSync(index, JSON.stringify({ ...json, weight_map: map }));
    const text = await failure(load(path), 'ERR_CHECKPOINT');
    expect(text).toContain(join(path, 'unet'));
    return text;
  }

  test.each([
    '../x.safetensors',
    '/etc/x.safetensors',
    'a/x.safetensors',
    'a\\x.safetensors',
    '',
    '.safetensors',
    'C:x.safetensors',
    'x.bin',
    'x.safetensors\0',
    7,
    null,
  ])('the file name %j', async (file) => {
    const text = await broken((map) => {
      map['conv_in.weight'] = file;
      map['conv_in.bias'] = file;
    });
    expect(text).toContain('weight_map\n2 wrong: ');
    expect(text).toContain('"conv_in.bias": expected the plain name of a .safetensors file in its folder, got ');
  });

  test('a map that is none, and one of too many files', async () => {
    for (const map of [undefined, [], 'x']) {
      expect(await broken(() => (map === undefined ? 5 : map))).toContain('weight_map: expected an object, got ');
    }
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`t${i}`, `f${i}.safetensors`]));
    expect(await broken(() => many)).toContain('weight_map: expected at most 1000 files, got 1001');
    expect(await broken(() => ({}))).toContain('missing: ');
  });

  test('tensors that are elsewhere, or nowhere, or of which it does not tell', async () => {
    const text = await broken((map) => {
      map['conv_in.weight'] = `${WEIGHTS}-00003-of-00003.safetensors`;
      map.nothing = `${WEIGHTS}-00001-of-00003.safetensors`;
      delete map['conv_in.bias'];
    });
    const [, elsewhere, untold, ...rest] = text.split('\n');
    expect(elsewhere).toMatch(/^2 not in the file that the index names: /);
    expect(elsewhere).toContain(`"conv_in.weight" in ${WEIGHTS}-00003-of-00003.safetensors`);
    expect(elsewhere).toContain(`"nothing" in ${WEIGHTS}-00001-of-00003.safetensors`);
    expect(untold).toMatch(/^2 of which the index does not say so: /);
    expect(untold).toContain('"conv_in.bias" in ');
    expect(rest).toEqual([]);
  });

  test('files that are missing or cut, all of them', async () => {
    const fileOf = (n: number) => `unet/${WEIGHTS}-0000${n}-of-00003.safetensors`;
    const text = await broken((_, path) => {
      rmSync(join(path, fileOf(1)));
      writeFileSync(join(path, fileOf(3)), readFileSync(join(path, fileOf(3))).subarray(0, -9));
    });
    expect(text).toMatch(/index\.json: files that it names\n2 wrong: /);
    expect(text).toContain('-00001-of-00003.safetensors: no such file');
    expect(text).toContain('-00003-of-00003.safetensors: tensor ');
  });
});

describe('which of several weights', () => {
  test('safetensors before torch.save’s, an index before a single file', async () => {
    const path = changed((path) => writeFileSync(join(path, `unet/${WEIGHTS}.bin`), 'nonsense'));
    expectOriginal(await load(path));
    await writeShards(path, 'safetensors', doubled(tensors));
    expectValues((await load(path)).values, twice(expected.values));
  });

  test('torch.save’s alone', async () => {
    const path = changed((path) => {
      without(`unet/${WEIGHTS}.safetensors`)(path);
      writePickled(join(path, `unet/${WEIGHTS}.bin`), tensors);
    });
    expectOriginal(await load(path));
  });

  test('a variant, in every form', async () => {
    const path = changed(() => {});
    const twofold = doubled(tensors);
    const isTwofold = async (options: object) =>
      expectValues((await load(path, options)).values, twice(expected.values));
    await writeTensors(join(path, `unet/${WEIGHTS}.fp16.safetensors`), twofold);
    writePickled(join(path, `unet/${WEIGHTS}.bf16.bin`), twofold);
    await writeShards(path, 'safetensors', twofold, 'parts');
    await writeShards(path, 'bin', twofold, 'old-parts');
    renameSync(
      join(path, `unet/${WEIGHTS}.bin.index.old-parts.json`),
      join(path, `unet/${WEIGHTS}.bin.old-parts.index.json`),
    );
    for (const variant of ['fp16', 'bf16', 'parts', 'old-parts']) await isTwofold({ variant });
    expectOriginal(await load(path));
  });

  test('only variants: one must be chosen', async () => {
    const path = changed(without(`unet/${WEIGHTS}.safetensors`));
    await writeTensors(join(path, `unet/${WEIGHTS}.fp16.safetensors`), tensors);
    await writeShards(path, 'bin', tensors, 'bf16');
    expect(await failure(load(path), 'ERR_CHECKPOINT')).toMatch(
      /diffusion_pytorch_model\.safetensors: no such file; the weights there are the variants 'bf16' or 'fp16': choose one, as in Ddpm\.load\(directory, \{ variant: 'bf16' \}\)$/,
    );
  });

  test('a variant that is not there', async () => {
    const path = changed(() => {});
    expect(await failure(load(path, { variant: 'fp16' }), 'ERR_CHECKPOINT')).toMatch(
      /diffusion_pytorch_model\.fp16\.safetensors: no such file; found diffusion_pytorch_model\.safetensors, which are not of that variant$/,
    );
  });

  test('every name that is looked for counts as weights, and its variant is told from it', () => {
    const shards = ['-00001-of-00002.safetensors', '-00001-of-00002.bin'];
    const plain = [...weightsFiles().map(({ name }) => name), ...shards.map((end) => WEIGHTS + end)];
    const raw = [...weightsFiles('raw').map(({ name }) => name), ...shards.map((end) => `${WEIGHTS}.raw${end}`)];
    for (const file of [...plain, ...raw]) expect([file, isWeightsFile(file)]).toEqual([file, true]);
    for (const file of plain) expect([file, variantsOf([file])]).toEqual([file, []]);
    for (const file of raw) expect([file, variantsOf([file])]).toEqual([file, ['raw']]);
    for (const file of ['config.json', 'diffusion_pytorch_models.bin', 'model.bin'])
      expect(isWeightsFile(file)).toBe(false);
  });
});
