import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { loadWeights, readModelFolder, saveModelFolder } from '../../lib/checkpoint';
import type { FloatDtype } from '../../lib/checkpoint/formats/dtypes';
import { CHUNK_BYTES, writeSafetensors } from '../../lib/checkpoint/formats/safetensors';
import { type DdpmConfig, presets, type ResolvedConfig, resolveConfig } from '../../lib/config';
import { FakeModel, FakeWeights, type Parameter, unetParameters } from '../helpers/fakeModel';
import { readTensors, referencePath } from '../helpers/fixtures';
import { failure, temporaryFolder, treeOf } from '../helpers/folder';

const folder = temporaryFolder();
const names = ['ho-rgb-32', 'legacy-16', 'gray-28', 'class-16', 'learned-sigma-16'];
const weightsFile = 'unet/diffusion_pytorch_model.safetensors';

/** What `Ddpm.load` does. */
async function load(path: string): Promise<{ config: ResolvedConfig; model: FakeModel }> {
  const { config, weights } = await readModelFolder(path);
  try {
    const resolved = resolveConfig(config);
    const model = new FakeModel(unetParameters(resolved));
    await loadWeights(weights, model);
    return { config: resolved, model };
  } finally {
    await weights.close();
  }
}

function weightsOf(model: FakeModel): FakeWeights {
  return model.sets.get('ema') as FakeWeights;
}

/** Compares the bytes: Jest's own comparison of arrays takes seconds where there are millions of numbers. */
function expectSame(values: ReadonlyMap<string, Float32Array>, expected: ReadonlyMap<string, Float32Array>): void {
  expect([...values.keys()].sort()).toEqual([...expected.keys()].sort());
  const bytes = (array: Float32Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  const different = [...expected].filter(
    ([name, array]) => !bytes(values.get(name) as Float32Array).equals(bytes(array)),
  );
  expect(different.map(([name]) => name)).toEqual([]);
}

/** A safetensors file without its header, which differs in the metadata. */
function dataOf(path: string): Buffer {
  const file = readFileSync(path);
  return file.subarray(8 + Number(file.readBigUInt64LE()));
}

/** A small configuration, in which nothing that is not in diffusers' files has its default. */
const config = resolveConfig({
  image: { size: 8, channels: 1 },
  unet: {
    channels: 8,
    channelMultipliers: [1, 2],
    blocksPerLevel: 1,
    attentionResolutions: [4],
    normGroups: 4,
    dropout: 0,
  },
  optimizer: {
    learningRate: 3e-4,
    warmupSteps: 7,
    beta1: 0.8,
    beta2: 0.99,
    epsilon: 1e-7,
    weightDecay: 0.01,
    gradientClip: null,
  },
  ema: { decay: 0.9, warmup: false },
  precision: 'bfloat16',
  seed: 2 ** 53 - 1,
});

/** Weights that differ from element to element and from set to set. */
function weightsFor(parameters: readonly Parameter[], first = 0): FakeWeights {
  const weights = new FakeWeights(parameters);
  let next = first;
  for (const values of weights.values.values())
    for (let i = 0; i < values.length; i++) values[i] = Math.fround(next++ / 7);
  return weights;
}

const parameters = unetParameters(config);

/** A saved model of `config`. */
async function saved(first = 0): Promise<string> {
  const path = join(folder(), 'model');
  await saveModelFolder(path, { config, parameters, weights: weightsFor(parameters, first) });
  return path;
}

describe('loading the reference folders', () => {
  test.each(names)('%s: every weight, under today’s name', async (name) => {
    const path = referencePath('unet', name);
    const { model } = await load(path);
    expect(model.sets.get('raw')).toBe(weightsOf(model));
    const today = (key: string) =>
      key
        .replace('.query.', '.to_q.')
        .replace('.key.', '.to_k.')
        .replace('.value.', '.to_v.')
        .replace('.proj_attn.', '.to_out.0.');
    const file = Object.entries(await readTensors(join(path, weightsFile)));
    expectSame(weightsOf(model).values, new Map(file.map(([key, { data }]) => [today(key), data as Float32Array])));
    expect(weightsOf(model).longest).toBeLessThanOrEqual(CHUNK_BYTES / 4);
  });

  test.each(names)('%s: saved again, the weights are the same and their order in the file too', async (name) => {
    const { config, model } = await load(referencePath('unet', name));
    const path = join(folder(), 'again');
    await saveModelFolder(path, { config, parameters: model.parameters(), weights: weightsOf(model) });
    const again = await load(path);
    expect(again.config).toEqual(config);
    expectSame(weightsOf(again.model).values, weightsOf(model).values);
    const [before, after] = [referencePath('unet', name), path].map((at) => dataOf(join(at, weightsFile)));
    expect(after.equals(before)).toBe(true);
  });
});

describe('saving and loading', () => {
  test('the files', async () => {
    const tree = treeOf(await saved());
    expect(Object.keys(tree).sort()).toEqual([
      'ddpm_node.json',
      'model_index.json',
      'scheduler/scheduler_config.json',
      weightsFile.replace('diffusion_pytorch_model.safetensors', 'config.json'),
      weightsFile,
    ]);
    expect(JSON.parse(tree['ddpm_node.json'] as string)).toEqual({
      formatVersion: 1,
      diffusion: { loss: 'simple' },
      optimizer: {
        learningRate: 3e-4,
        warmupSteps: 7,
        beta1: 0.8,
        beta2: 0.99,
        epsilon: 1e-7,
        weightDecay: 0.01,
        gradientClip: null,
      },
      ema: { decay: 0.9, warmup: false },
      precision: 'bfloat16',
      seed: 2 ** 53 - 1,
    });
    expect(tree['model_index.json']).toMatch(/^\{\n {2}"_class_name": "DDPMPipeline",\n.*\n\}\n$/s);
  });

  test.each<[string, DdpmConfig]>([
    ['all that differs from the defaults', config],
    ['given betas', { ...config, diffusion: { betas: [0.1, 1 / 3], clipSample: false } }],
    [
      'a learned variance and classes',
      { ...config, unet: { ...config.unet, classes: 3 }, diffusion: { varianceType: 'learned_range' } },
    ],
    ['the tiny preset', presets.tiny],
  ])('the whole configuration comes back: %s', async (_, given) => {
    const resolved = resolveConfig(given);
    const path = join(folder(), 'model');
    const list = unetParameters(resolved);
    await saveModelFolder(path, { config: resolved, parameters: list, weights: weightsFor(list) });
    const again = await load(path);
    expect(again.config).toEqual(resolved);
    expectSame(weightsOf(again.model).values, weightsFor(list).values);
  });

  test('a tensor of several pieces', async () => {
    const long = [{ name: 'long', shape: [CHUNK_BYTES / 4, 2] }];
    const path = join(folder(), 'model');
    await saveModelFolder(path, { config, parameters: long, weights: weightsFor(long) });
    const { weights } = await readModelFolder(path);
    const model = new FakeModel(long);
    await loadWeights(weights, model);
    await weights.close();
    expectSame(weightsOf(model).values, weightsFor(long).values);
  });

  test('the device is the loader’s affair', async () => {
    const path = join(folder(), 'model');
    await saveModelFolder(path, {
      config: { ...config, device: 'cuda:7' },
      parameters,
      weights: weightsFor(parameters),
    });
    expect((await load(path)).config.device).toBe('auto');
  });

  test.each<[FloatDtype, (value: number) => Buffer]>([
    ['F64', (value) => Buffer.from(Float64Array.of(value).buffer)],
    ['F32', (value) => Buffer.from(Float32Array.of(value).buffer)],
    ['BF16', (value) => Buffer.from(Float32Array.of(value).buffer).subarray(2)],
    ['F16', (value) => Buffer.from(Uint16Array.of(halfOf(value)).buffer)],
  ])('weights of %s', async (dtype, encode) => {
    const path = await saved();
    const tensors = parameters.map(({ name, shape }) => {
      const count = shape.reduce((product, dimension) => product * dimension, 1);
      const values = Array.from({ length: count }, (_, i) => (i % 2 ? -1 : 1) * 2 ** ((i % 13) - 6));
      return { name, dtype, shape, values, chunks: () => [Buffer.concat(values.map(encode))] };
    });
    await writeSafetensors(join(path, weightsFile), tensors);
    const { values } = weightsOf((await load(path)).model);
    for (const tensor of tensors) expect([...(values.get(tensor.name) as Float32Array)]).toEqual(tensor.values);
  });
});

describe('saving over a model', () => {
  test('replaces it whole, with its other weight files, and leaves the user’s files', async () => {
    const path = join(folder(), 'model');
    cpSync(referencePath('unet', 'legacy-16'), path, { recursive: true });
    mkdirSync(join(path, '.git'));
    for (const file of ['README.md', '.git/HEAD', 'unet/notes.txt']) writeFileSync(join(path, file), 'mine');
    const old = [
      'diffusion_pytorch_model.bin',
      'diffusion_pytorch_model.fp16.safetensors',
      'diffusion_pytorch_model.safetensors.index.json',
      'diffusion_pytorch_model-00001-of-00002.safetensors',
    ];
    for (const file of old) writeFileSync(join(path, 'unet', file), 'old');
    await saved();
    expect(Object.keys(treeOf(path)).sort()).toEqual([
      '.git/HEAD',
      'README.md',
      'ddpm_node.json',
      'io.safetensors',
      'model_index.json',
      'scheduler/scheduler_config.json',
      'unet/config.json',
      weightsFile,
      'unet/notes.txt',
    ]);
    expect((await load(path)).config).toEqual(config);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    'a weight that is %d is refused, and the old model stays',
    async (value) => {
      const path = await saved();
      const before = treeOf(folder());
      const weights = weightsFor(parameters, 1);
      (weights.values.get('conv_out.weight') as Float32Array)[5] = value;
      const text = await failure(saveModelFolder(path, { config, parameters, weights }), 'ERR_NON_FINITE');
      expect(text).toBe(
        `parameter 'conv_out.weight', element 5: expected a finite number, got ${value}; nothing was saved`,
      );
      expect(treeOf(folder())).toEqual(before);
    },
  );

  test('a failure of the native side leaves the old model', async () => {
    const path = await saved();
    const before = treeOf(folder());
    let reads = 0;
    const weights = {
      read: (_: string, __: number, count: number) => {
        if (++reads === 20) throw new Error('disposed');
        return new Float32Array(count);
      },
    };
    await expect(saveModelFolder(path, { config, parameters, weights })).rejects.toThrow('disposed');
    const short = { read: () => new Float32Array(1) };
    await failure(saveModelFolder(path, { config, parameters, weights: short }), 'ERR_NATIVE');
    expect(treeOf(folder())).toEqual(before);
  });

  test('an abort leaves the old model, or none', async () => {
    const path = await saved();
    const before = treeOf(folder());
    const controller = new AbortController();
    let reads = 0;
    const weights = {
      read: (_: string, __: number, count: number) => {
        if (++reads === 20) controller.abort('enough');
        return new Float32Array(count);
      },
    };
    const options = { signal: controller.signal };
    const aborted = { name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' };
    await expect(saveModelFolder(path, { config, parameters, weights }, options)).rejects.toMatchObject(aborted);
    expect(reads).toBe(20);
    await expect(
      saveModelFolder(join(folder(), 'other'), { config, parameters, weights }, options),
    ).rejects.toMatchObject(aborted);
    expect(reads).toBe(20);
    expect(treeOf(folder())).toEqual(before);
  });

  test('many at once end as one of them', async () => {
    const path = join(folder(), 'model');
    const sets = [0, 100, 200].map((first) => weightsFor(parameters, first));
    await Promise.all(sets.map((weights) => saveModelFolder(path, { config, parameters, weights })));
    expectSame(weightsOf((await load(path)).model).values, sets[2].values);
    expect(Object.keys(treeOf(path))).toHaveLength(5);
  });
});

describe('loading what is not right', () => {
  async function broken(change: (path: string) => void): Promise<string> {
    const path = await saved();
    change(path);
    const text = await failure(load(path), 'ERR_CHECKPOINT');
    expect(text).toContain(path);
    return text;
  }
  const edit = (file: string, change: (json: Record<string, unknown>) => unknown) => (path: string) => {
    const json = JSON.parse(readFileSync(join(path, file), 'utf8'));
    writeFileSync(join(path, file), JSON.stringify(change(json)));
  };

  test('no such folder, a file, an empty folder', async () => {
    expect(await failure(load(join(folder(), 'none')), 'ERR_CHECKPOINT')).toMatch(/none: .*: no such folder$/);
    const path = await saved();
    expect(await failure(load(join(path, 'model_index.json')), 'ERR_CHECKPOINT')).toMatch(/: no such folder$/);
    expect(await failure(load(folder()), 'ERR_CHECKPOINT')).toMatch(
      /: it has no model_index.json, no unet\/config.json and no config.json$/,
    );
  });

  test.each([weightsFile, 'unet/config.json'])('without %s', async (file) => {
    expect(await broken((path) => rmSync(join(path, file)))).toMatch(new RegExp(`${file}: no such file$`));
  });

  test.each(['unet/config.json', 'scheduler/scheduler_config.json', 'ddpm_node.json', 'model_index.json'])(
    '%s that is cut, not an object, or a folder',
    async (file) => {
      const cut = await broken((path) =>
        writeFileSync(join(path, file), readFileSync(join(path, file)).subarray(0, -3)),
      );
      expect(cut).toContain(`${file}: expected JSON: `);
      expect(await broken((path) => writeFileSync(join(path, file), '[]'))).toContain(
        `${file}: expected a JSON object`,
      );
      const isFolder = await broken((path) => {
        rmSync(join(path, file));
        mkdirSync(join(path, file));
      });
      expect(isFolder).toContain(`${file}: expected a file`);
      rmSync(join(folder(), 'model', file), { recursive: true });
    },
  );

  test.each(['diffusion_pytorch_model.msgpack', 'model.safetensors', 'diffusion_pytorch_model-00001-of-00002.bin'])(
    'weights in the form of %s',
    async (name) => {
      const text = await broken((path) => renameSync(join(path, weightsFile), join(path, 'unet', name)));
      expect(text).toContain(
        `diffusion_pytorch_model.safetensors: no such file; found ${name}, which this version does not read`,
      );
    },
  );

  test('settings that are not supported, in both files', async () => {
    const text = await broken((path) => {
      edit('unet/config.json', (json) => ({ ...json, act_fn: 'mish' }))(path);
      edit('scheduler/scheduler_config.json', (json) => ({ ...json, thresholding: true }))(path);
    });
    expect(text.split('\n')).toHaveLength(2);
    expect(text).toContain("unet/config.json: act_fn: expected 'silu'");
    expect(text).toContain('scheduler/scheduler_config.json: thresholding: expected false');
  });

  test('another pipeline', async () => {
    expect(await broken(edit('model_index.json', () => ({ _class_name: 'LDMPipeline' })))).toContain('LDMPipeline');
  });

  test('our own file: a newer version, and settings that are not its own', async () => {
    const change = (more: object) => edit('ddpm_node.json', (json) => ({ ...json, ...more }));
    expect(await broken(change({ formatVersion: 2 }))).toMatch(/formatVersion: expected 1 .*, got 2 \(number\)$/);
    expect(await broken(change({ unet: {} }))).toMatch(/expected the keys .*, got unet$/);
    expect(await broken(change({ diffusion: { timesteps: 5 } }))).toMatch(/expected the keys loss, got timesteps$/);
    expect(await broken(change({ diffusion: 5 }))).toMatch(/diffusion: expected an object, got 5 \(number\)$/);
  });

  test('weights of another network', async () => {
    const text = await broken(
      edit('unet/config.json', (json) => ({ ...json, layers_per_block: 2, in_channels: 2, out_channels: 2 })),
    );
    expect(text).toMatch(/\n\d+ missing: down_blocks\.0\.resnets\.1\.norm1\.weight; .* and \d+ more\n/);
    expect(text).toContain('conv_in.weight: expected [8, 2, 3, 3], got [8, 1, 3, 3]');
  });

  test.each([Number.NaN, Number.NEGATIVE_INFINITY])('a weight that is %d', async (value) => {
    const path = await saved();
    const weights = weightsFor(parameters);
    (weights.values.get('conv_in.bias') as Float32Array)[3] = value;
    const tensors = parameters.map(({ name, shape }) => ({
      name,
      shape,
      dtype: 'F32' as const,
      chunks: () => [new Uint8Array((weights.values.get(name) as Float32Array).buffer)],
    }));
    await writeSafetensors(join(path, weightsFile), tensors);
    const { config, weights: source } = await readModelFolder(path);
    const model = new FakeModel(unetParameters(resolveConfig(config)));
    expect(await failure(loadWeights(source, model), 'ERR_CHECKPOINT')).toContain(
      "tensor 'conv_in.bias', element 3: expected a finite",
    );
    expect(model.sets.size).toBe(0);
    await source.close();
  });

  test('a file that is cut while its weights are read', async () => {
    const path = await saved();
    const { weights } = await readModelFolder(path);
    await fs.truncate(join(path, weightsFile), 20_000);
    expect(await failure(loadWeights(weights, new FakeModel(parameters)), 'ERR_CHECKPOINT')).toContain(
      'the file ends at byte',
    );
    await weights.close();
  });

  test('a folder that is replaced while it is read', async () => {
    const path = await saved();
    const real = fs.open;
    const spy = jest.spyOn(fs, 'open').mockImplementation(async (...parameters) => {
      if (String(parameters[0]).endsWith('config.json')) {
        spy.mockRestore();
        await saved(1);
      }
      return real(...parameters);
    });
    expect(await failure(readModelFolder(path), 'ERR_CHECKPOINT')).toMatch(
      /was replaced while it was read; load it again$/,
    );
    const { weights } = await readModelFolder(path);
    await weights.close();
  });

  test('a folder whose save was cut off says where its files are, and the next save mends it', async () => {
    const path = await saved();
    const stage = join(path, '.ddpm-save-0123456789ab');
    mkdirSync(join(stage, 'old'), { recursive: true });
    writeFileSync(join(stage, 'list.json'), '["model_index.json"]');
    renameSync(join(path, 'model_index.json'), join(stage, 'old', 'model_index.json'));
    expect(await failure(load(path), 'ERR_CHECKPOINT')).toMatch(
      /a save into it is under way or was cut off, and .*0123456789ab has the files/,
    );
    await saved(1);
    expectSame(weightsOf((await load(path)).model).values, weightsFor(parameters, 1).values);
    expect(Object.keys(treeOf(path))).toHaveLength(5);
  });
});

/** The half-precision bits of a power of two, positive or negative. */
function halfOf(value: number): number {
  return (value < 0 ? 0x8000 : 0) | ((Math.log2(Math.abs(value)) + 15) << 10);
}
