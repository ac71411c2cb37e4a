/** diffusers' schedulers: what loads whatever sampler a folder names, what is refused, and what the caller may say instead. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type DiffusionOptions } from '../../lib';
import { readJsonObject } from '../../lib/checkpoint/formats/json';
import { referencePath } from '../helpers/fixtures';
import { failure, temporaryFolder } from '../helpers/folder';

const folder = temporaryFolder();

/** All classes of diffusers 0.40.0.dev0 with the defaults of their settings, as Python's json writes them. */
const fixture = readFileSync(join(__dirname, '..', 'fixtures', 'schedulers.json'), 'utf8');
const all: Record<string, Record<string, unknown>> = JSON.parse(fixture.replaceAll('-Infinity', '"-Infinity"'));

/** Those that the process of a DDPM can be read from; the others have no betas, or change them. */
const readable = [
  'DDIMInverseScheduler',
  'DDIMParallelScheduler',
  'DDIMScheduler',
  'DDPMParallelScheduler',
  'DDPMScheduler',
  'DEISMultistepScheduler',
  'DPMSolverMultistepInverseScheduler',
  'DPMSolverMultistepScheduler',
  'DPMSolverSDEScheduler',
  'DPMSolverSinglestepScheduler',
  'EulerAncestralDiscreteScheduler',
  'EulerDiscreteScheduler',
  'HeunDiscreteScheduler',
  'KDPM2AncestralDiscreteScheduler',
  'KDPM2DiscreteScheduler',
  'LCMScheduler',
  'LMSDiscreteScheduler',
  'PNDMScheduler',
  'RePaintScheduler',
  'SASolverScheduler',
  'TCDScheduler',
  'UnCLIPScheduler',
  'UniPCMultistepScheduler',
];
const others = Object.keys(all).filter((name) => !readable.includes(name));

/** The folder of a model whose scheduler's file has this text. */
function modelWith(text: string): string {
  const path = join(folder(), 'model');
  cpSync(referencePath('unet', 'legacy-16'), path, { recursive: true });
  mkdirSync(join(path, 'scheduler'), { recursive: true });
  writeFileSync(join(path, 'scheduler/scheduler_config.json'), text);
  return path;
}

/** As diffusers saves a scheduler of a class. */
function saved(name: string, more: object = {}): string {
  const text = JSON.stringify({ _class_name: name, _diffusers_version: '0.40.0', ...all[name], ...more }, null, 2);
  return text.replaceAll('"-Infinity"', '-Infinity');
}

async function diffusionOf(path: string, diffusion?: DiffusionOptions): Promise<Required<DiffusionOptions>> {
  await using ddpm = await Ddpm.load(path, { device: 'cpu', diffusion });
  return ddpm.config.diffusion;
}

const complete: DiffusionOptions = { timesteps: 500, betaSchedule: 'linear', betaStart: 2e-4, betaEnd: 0.04 };

describe.each(readable)('%s', (name) => {
  const { num_train_timesteps, beta_start, beta_end, beta_schedule, clip_sample = true } = all[name];
  const expected =
    beta_schedule === 'squaredcos_cap_v2'
      ? { betaSchedule: 'cosine' }
      : { betaSchedule: beta_schedule, betaStart: beta_start, betaEnd: beta_end };

  test('as diffusers saves it, and with all settings left to the class', async () => {
    const process = { timesteps: num_train_timesteps, predictionType: 'epsilon', clipSample: clip_sample, ...expected };
    expect(await diffusionOf(modelWith(saved(name)))).toMatchObject(process);
    expect(await diffusionOf(modelWith(JSON.stringify({ _class_name: name })))).toMatchObject(process);
  });

  test('with other betas, spacing and offset; and the network alone', async () => {
    const betas = { beta_start: 0.0002, beta_end: 0.015, beta_schedule: 'scaled_linear', num_train_timesteps: 500 };
    const path = modelWith(saved(name, { ...betas, timestep_spacing: 'trailing', steps_offset: 1 }));
    const process = { timesteps: 500, betaSchedule: 'scaled_linear', betaStart: 0.0002, betaEnd: 0.015 };
    expect(await diffusionOf(path)).toMatchObject(process);
    expect(await diffusionOf(join(path, 'unet'))).toMatchObject(process);
    expect(await diffusionOf(path, complete)).toMatchObject(complete);
  });

  test('a prediction that is not supported is named in one line', async () => {
    const path = modelWith(saved(name, { prediction_type: 'v_prediction' }));
    expect(await failure(Ddpm.load(path), 'ERR_CHECKPOINT')).toBe(
      `${path}/scheduler/scheduler_config.json: prediction_type: expected 'epsilon', got 'v_prediction' (string)`,
    );
    expect(await diffusionOf(path, { predictionType: 'epsilon' })).toMatchObject(expected);
  });
});

test.each(others)('%s is refused in one line, unless the caller says the process', async (name) => {
  const path = modelWith(saved(name));
  const text = await failure(Ddpm.load(path), 'ERR_CHECKPOINT');
  const lines = text.split('\n').filter((line) => !line.includes('prediction_type'));
  expect(lines).toEqual([
    expect.stringMatching(new RegExp(`scheduler_config.json: _class_name: expected .*'diffusion' .*, got '${name}'`)),
  ]);
  const given: DiffusionOptions = { ...complete, predictionType: 'epsilon' };
  expect(await diffusionOf(path, given)).toMatchObject(given);
  expect(await diffusionOf(join(path, 'unet'), given)).toMatchObject(given);
});

describe('what the caller says goes before the file', () => {
  test.each<[object, DiffusionOptions]>([
    [{ beta_schedule: 'sigmoid' }, complete],
    [{ beta_start: 'small' }, { betas: [0.1, 0.2] }],
    [{ rescale_betas_zero_snr: true }, complete],
    [{ trained_betas: [0.1, 0.2] }, { betas: [0.1, 0.2, 0.3] }],
    [{ num_train_timesteps: 0 }, { timesteps: 100 }],
    [{ variance_type: 'learned' }, { varianceType: 'fixed_large' }],
    [{ thresholding: true }, { clipSample: true }],
    [{ clip_sample_range: 2 }, { clipSample: false }],
    [{ of_the_users_own: 1, and_another: 2 }, { betaSchedule: 'cosine' }],
  ])('%j', async (settings, given) => {
    const path = modelWith(saved('DDPMScheduler', settings));
    const text = await failure(Ddpm.load(path), 'ERR_CHECKPOINT');
    expect(text.split('\n')).toHaveLength(1);
    expect(await diffusionOf(path, given)).toMatchObject(given);
  });

  test('but no further', async () => {
    const path = modelWith(saved('DDPMScheduler', { thresholding: true, beta_schedule: 'sigmoid' }));
    expect(await failure(Ddpm.load(path, { diffusion: complete }), 'ERR_CHECKPOINT')).toMatch(/thresholding: [^\n]*$/);
  });
});

test('the network of a pipeline that is not known, by its folder and with its process', async () => {
  const path = modelWith(saved('EulerDiscreteScheduler'));
  writeFileSync(join(path, 'model_index.json'), JSON.stringify({ _class_name: 'OfMyOwnPipeline' }));
  expect(await failure(Ddpm.load(path, { diffusion: complete }), 'ERR_CHECKPOINT')).toContain('OfMyOwnPipeline');
  expect(await failure(Ddpm.load(join(path, 'unet')), 'ERR_CHECKPOINT')).toContain('OfMyOwnPipeline');
  expect(await diffusionOf(join(path, 'unet'), complete)).toMatchObject(complete);
});

describe("JSON as Python's json writes it", () => {
  test.each([
    ['{"a": -Infinity, "b": [Infinity, NaN, 1]}', { a: -Infinity, b: [Infinity, NaN, 1] }],
    ['{"NaN": "say -Infinity \\" NaN", "a": NaN}', { NaN: 'say -Infinity " NaN', a: NaN }],
  ])('%s', async (text, value) => {
    const path = join(folder(), 'some.json');
    writeFileSync(path, text);
    expect(await readJsonObject(path)).toEqual(value);
  });

  test.each(['{"a": Infinite}', '{"a": -NaNs}', '{"a": NaN', '{"a": "Infinity}'])('but not %s', async (text) => {
    const path = join(folder(), 'some.json');
    writeFileSync(path, text);
    expect(await failure(readJsonObject(path), 'ERR_CHECKPOINT')).toContain('expected JSON: ');
  });
});
