import { readFileSync } from 'node:fs';
import { checkModelIndex, configFromDiffusers, diffusersFiles } from '../../lib/checkpoint/model/diffusersConfig';
import { type DdpmConfig, presets, resolveConfig } from '../../lib/config';
import { DdpmError } from '../../lib/errors';
import { referencePath } from '../helpers/fixtures';

function parse(unet: object, scheduler: object = {}) {
  return configFromDiffusers({
    unet: { name: 'unet/config.json', json: unet as never },
    scheduler: { name: 'scheduler_config.json', json: scheduler as never },
  });
}

function message(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(DdpmError);
    expect((error as DdpmError).code).toBe('ERR_CHECKPOINT');
    return (error as DdpmError).message;
  }
  throw new Error('it succeeded');
}

const read = (...parts: string[]) => JSON.parse(readFileSync(referencePath('unet', ...parts), 'utf8'));
const readBoth = (name: string) => parse(read(name, 'unet/config.json'), read(name, 'scheduler/scheduler_config.json'));

const linear = { timesteps: 1000, betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02, predictionType: 'epsilon' };
const paper = {
  attentionHeadChannels: null,
  dropout: 0,
  normEpsilon: 1e-6,
  downsamplePadding: 'asymmetric',
  flipSinToCos: false,
  frequencyShift: 1,
  classes: 0,
};
const modern = { dropout: 0, normEpsilon: 1e-5, downsamplePadding: 'symmetric', flipSinToCos: true, frequencyShift: 0 };

describe('the files of the reference folders', () => {
  test.each([
    [
      'ho-rgb-32',
      {
        image: { height: 32, width: 32, channels: 3 },
        unet: {
          ...paper,
          channels: 32,
          channelMultipliers: [1, 1, 2, 2],
          blocksPerLevel: 2,
          attentionResolutions: [16],
          normGroups: 32,
        },
        diffusion: { ...linear, varianceType: 'fixed_large', clipSample: true },
      },
    ],
    [
      'legacy-16',
      {
        image: { height: 16, width: 16, channels: 3 },
        unet: {
          ...paper,
          channels: 32,
          channelMultipliers: [1, 1],
          blocksPerLevel: 1,
          attentionResolutions: [8],
          normGroups: 32,
        },
        diffusion: { ...linear, varianceType: 'fixed_small', clipSample: true },
      },
    ],
    [
      'gray-28',
      {
        image: { height: 28, width: 28, channels: 1 },
        unet: {
          ...modern,
          channels: 32,
          channelMultipliers: [1, 2, 2],
          blocksPerLevel: 1,
          attentionResolutions: [14, 7],
          attentionHeadChannels: 8,
          normGroups: 16,
          classes: 0,
        },
        diffusion: { ...linear, varianceType: 'fixed_large', clipSample: true },
      },
    ],
    [
      'class-16',
      {
        image: { height: 16, width: 16, channels: 3 },
        unet: {
          ...modern,
          channels: 32,
          channelMultipliers: [1, 2],
          blocksPerLevel: 1,
          attentionResolutions: [8],
          attentionHeadChannels: 16,
          normGroups: 8,
          classes: 10,
        },
        diffusion: { ...linear, varianceType: 'fixed_large', clipSample: true },
      },
    ],
    [
      'learned-sigma-16',
      {
        image: { height: 16, width: 16, channels: 3 },
        unet: {
          ...paper,
          channels: 32,
          channelMultipliers: [1, 2],
          blocksPerLevel: 1,
          attentionResolutions: [8],
          normGroups: 8,
        },
        diffusion: { ...linear, varianceType: 'learned_range', clipSample: true },
      },
    ],
  ])('%s', (name, expected) => {
    expect(readBoth(name)).toEqual(expected);
  });

  test.each(['ho-rgb-32', 'gray-28', 'class-16', 'learned-sigma-16'])('%s is written as diffusers wrote it', (name) => {
    const { index, unetConfig, schedulerConfig } = diffusersFiles(resolveConfig(readBoth(name)));
    expect(index).toEqual(read(name, 'model_index.json'));
    expect(unetConfig).toEqual(read(name, 'unet/config.json'));
    expect(schedulerConfig).toEqual(read(name, 'scheduler/scheduler_config.json'));
  });
});

test('what a file leaves out has diffusers’ default, not ours', () => {
  expect(parse({ sample_size: 64 })).toEqual({
    image: { height: 64, width: 64, channels: 3 },
    unet: {
      channels: 224,
      channelMultipliers: [1, 2, 3, 4],
      blocksPerLevel: 2,
      attentionResolutions: [32, 16, 8],
      attentionHeadChannels: 8,
      dropout: 0,
      normGroups: 32,
      normEpsilon: 1e-5,
      classes: 0,
      downsamplePadding: 'symmetric',
      flipSinToCos: true,
      frequencyShift: 0,
    },
    diffusion: { ...linear, varianceType: 'fixed_small', clipSample: true },
  });
});

/** Two levels, with attention at the second. */
const small = {
  sample_size: 16,
  block_out_channels: [32, 64],
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D'],
  up_block_types: ['AttnUpBlock2D', 'UpBlock2D'],
};

describe('values that are read', () => {
  test.each<[string, object, object, object]>([
    ['a size of two sides', { sample_size: [16, 24] }, {}, { image: { height: 16, width: 24, channels: 3 } }],
    [
      'multipliers that are fractions',
      { block_out_channels: [96, 128] },
      {},
      { unet: { channels: 96, channelMultipliers: [1, 4 / 3] } },
    ],
    [
      'block names of 2022',
      {
        down_block_types: ['UNetResDownBlock2D', 'UNetResAttnDownBlock2D'],
        up_block_types: ['UNetResAttnUpBlock2D', 'UNetResUpBlock2D'],
      },
      {},
      { unet: { attentionResolutions: [8] } },
    ],
    [
      'no attention outside the middle',
      { down_block_types: ['DownBlock2D', 'DownBlock2D'], up_block_types: ['UpBlock2D', 'UpBlock2D'] },
      {},
      { unet: { attentionResolutions: [] } },
    ],
    [
      'settings that say what is the case anyway',
      { time_embedding_dim: 128, attn_norm_num_groups: 32, act_fn: 'swish', something_new: null, _name_or_path: 'x' },
      {},
      { unet: { channels: 32 } },
    ],
    [
      'a cosine schedule, which has no ends',
      {},
      { beta_schedule: 'squaredcos_cap_v2', beta_start: 0.001 },
      { diffusion: { betaSchedule: 'cosine' } },
    ],
    [
      'a schedule linear in the square root',
      {},
      { beta_schedule: 'scaled_linear', beta_end: 0.012 },
      { diffusion: { betaSchedule: 'scaled_linear', betaStart: 1e-4, betaEnd: 0.012 } },
    ],
    [
      'a schedule value by value',
      {},
      { num_train_timesteps: 2, trained_betas: [0.1, 0.2] },
      { diffusion: { timesteps: 2, betas: [0.1, 0.2] } },
    ],
    [
      'a small variance by its logarithm',
      {},
      { variance_type: 'fixed_small_log' },
      { diffusion: { varianceType: 'fixed_small' } },
    ],
    [
      'no clipping, whatever its range',
      {},
      { clip_sample: false, clip_sample_range: 3 },
      { diffusion: { clipSample: false } },
    ],
    [
      'a scheduler of DDIM',
      {},
      { _class_name: 'DDIMScheduler', set_alpha_to_one: true, timestep_spacing: 'trailing' },
      { diffusion: { timesteps: 1000 } },
    ],
    [
      'a scheduler of 2022',
      {},
      { tensor_format: 'pt', timestep_values: null, variance_type: 'fixed_large' },
      { diffusion: { varianceType: 'fixed_large' } },
    ],
    [
      'settings that change nothing',
      { num_train_timesteps: 1000 },
      { predict_epsilon: true, dynamic_thresholding_ratio: 0.9, sample_max_value: 2, timestep_spacing: 'trailing' },
      { diffusion: { predictionType: 'epsilon' } },
    ],
    [
      'settings under the names of the releases before 0.1',
      {},
      { timesteps: 500, clip_predicted_image: false },
      { diffusion: { timesteps: 500, clipSample: false } },
    ],
    [
      'both names of a setting, with one value',
      {},
      { timesteps: 500, num_train_timesteps: 500, clip_predicted_image: false, clip_sample: false },
      { diffusion: { timesteps: 500, clipSample: false } },
    ],
  ])('%s', (_, unet, scheduler, expected) => {
    const config = parse({ ...small, ...unet }, scheduler);
    expect(config).toMatchObject(expected);
    expect(resolveConfig(config)).toMatchObject(expected);
  });
});

describe('values that are refused, by name', () => {
  test.each<[object, string]>([
    [
      { _class_name: 'UNet2DConditionModel' },
      "_class_name: expected 'UNet2DModel', got 'UNet2DConditionModel' (string)",
    ],
    [{ sample_size: null }, 'sample_size: expected an integer or [height, width], got null (null)'],
    [{ sample_size: [16] }, 'sample_size: expected an integer or [height, width]'],
    [{ sample_size: 15 }, 'sample_size: expected a multiple of 2, which 2 levels can halve, got 15 (number)'],
    [{ in_channels: '3' }, "in_channels: expected a positive integer, got '3' (string)"],
    [
      { out_channels: 4 },
      "out_channels: expected 3 (for variance_type 'fixed_small' and in_channels 3), got 4 (number)",
    ],
    [{ out_channels: 6 }, 'out_channels: expected 3'],
    [{ act_fn: 'mish' }, "act_fn: expected 'silu' or 'swish', got 'mish' (string)"],
    [{ add_attention: false }, 'add_attention: expected true, got false (boolean)'],
    [{ attn_norm_num_groups: 8 }, 'attn_norm_num_groups: expected null or norm_num_groups (32), got 8 (number)'],
    [{ block_out_channels: [] }, 'block_out_channels: expected an array of positive integers'],
    [{ block_out_channels: [32, 32, 64] }, 'down_block_types: expected 3 entries, as in block_out_channels'],
    [{ up_block_types: ['UpBlock2D'] }, 'up_block_types: expected 2 entries'],
    [
      { up_block_types: ['UpBlock2D', 'AttnUpBlock2D'] },
      'up_block_types: expected attention where down_block_types has it, in reverse order',
    ],
    [
      { down_block_types: ['DownBlock2D', 'SkipDownBlock2D'] },
      "down_block_types: expected an array of 'DownBlock2D' or 'AttnDownBlock2D'",
    ],
    [{ up_block_types: ['AttnUpBlock2D', 'ResnetUpsampleBlock2D'] }, 'up_block_types: expected an array of'],
    [{ center_input_sample: true }, 'center_input_sample: expected false'],
    [{ class_embed_type: 'timestep' }, "class_embed_type: expected null, got 'timestep' (string)"],
    [{ downsample_padding: 2 }, 'downsample_padding: expected 0 or 1'],
    [{ downsample_type: 'resnet' }, "downsample_type: expected 'conv'"],
    [{ upsample_type: 'resnet' }, "upsample_type: expected 'conv'"],
    [{ dropout: null }, 'dropout: expected a number, got null'],
    [{ mid_block_scale_factor: 1.41 }, 'mid_block_scale_factor: expected 1, got 1.41'],
    [{ mid_block_type: null }, "mid_block_type: expected 'UNetMidBlock2D', got null"],
    [{ norm_num_groups: null }, 'norm_num_groups: expected a positive integer, got null'],
    [{ num_class_embeds: 0 }, 'num_class_embeds: expected a positive integer or null, got 0'],
    [{ num_train_timesteps: 0 }, 'num_train_timesteps: expected a positive integer or null, got 0'],
    [{ resnet_time_scale_shift: 'scale_shift' }, "resnet_time_scale_shift: expected 'default'"],
    [{ time_embedding_dim: 256 }, 'time_embedding_dim: expected null or 128 (4 × channels), got 256'],
    [{ time_embedding_type: 'fourier' }, "time_embedding_type: expected 'positional'"],
    [{ encoder_hid_dim: 8 }, 'unknown settings: encoder_hid_dim'],
    [{ drop_out: 0 }, 'unknown settings: drop_out (did you mean dropout?)'],
  ])('unet: %j', (unet, text) => {
    expect(message(() => parse({ ...small, ...unet }))).toContain(`unet/config.json: ${text}`);
  });

  test('a key that is every object’s', () => {
    const json = JSON.parse(`{"__proto__":{"act_fn":"mish"},"constructor":1,${JSON.stringify(small).slice(1)}`);
    const text = message(() => parse(json));
    expect(text).toContain('unknown settings: constructor');
    expect(text.split('\n')).toHaveLength(1);
  });

  test.each<[object, string]>([
    [
      { _class_name: 'ScoreSdeVeScheduler' },
      "_class_name: expected a scheduler with betas, such as 'DDPMScheduler' (the option 'diffusion' can say the schedule instead), got 'ScoreSdeVeScheduler' (string)",
    ],
    [{ beta_schedule: 'sigmoid' }, "beta_schedule: expected 'linear' or 'scaled_linear' or 'squaredcos_cap_v2'"],
    [{ beta_start: '1e-4' }, 'beta_start: expected a number'],
    [{ trained_betas: [0.1, 0.2] }, 'num_train_timesteps: expected 2, the length of trained_betas, got 1000 (number)'],
    [{ trained_betas: ['0.1'] }, 'trained_betas: expected an array of numbers or null'],
    [{ prediction_type: 'v_prediction' }, "prediction_type: expected 'epsilon', got 'v_prediction' (string)"],
    [{ variance_type: 'learned' }, "variance_type: expected 'fixed_large' or"],
    [{ variance_type: 'fixed_large_log' }, 'variance_type: expected'],
    [{ variance_type: 'toString' }, 'variance_type: expected'],
    [{ clip_sample: 1 }, 'clip_sample: expected true or false, got 1 (number)'],
    [{ clip_sample_range: 2 }, 'clip_sample_range: expected 1, got 2 (number)'],
    [{ thresholding: true }, 'thresholding: expected false'],
    [{ rescale_betas_zero_snr: true }, 'rescale_betas_zero_snr: expected false'],
    [{ steps_offset: 0.5 }, 'steps_offset: expected an integer'],
    [{ use_flow_sigmas: true }, 'use_flow_sigmas: expected false'],
    [{ timestep_type: 'continuous' }, "timestep_type: expected 'discrete'"],
    [{ timestep_spacing: 'karras' }, "timestep_spacing: expected 'leading' or 'trailing' or 'linspace'"],
    [{ predict_epsilon: false }, 'predict_epsilon: expected true, got false (boolean)'],
    [{ timestep_values: [1, 2] }, 'timestep_values: expected null'],
    [{ timesteps: 1.5 }, 'timesteps: expected a positive integer, got 1.5 (number)'],
    [
      { timesteps: 500, num_train_timesteps: 1000 },
      'timesteps: expected the value of num_train_timesteps (1000), which it was called before, got 500 (number)',
    ],
    [
      { clip_predicted_image: false, clip_sample: true },
      'clip_predicted_image: expected the value of clip_sample (true), which it was called before, got false (boolean)',
    ],
    [
      { use_karras_sigma: true, snr_shift_scale: 3 },
      'unknown settings: use_karras_sigma (did you mean use_karras_sigmas?), snr_shift_scale',
    ],
  ])('scheduler: %j', (scheduler, text) => {
    expect(message(() => parse(small, scheduler))).toContain(`scheduler_config.json: ${text}`);
  });

  test('a learned variance without its channels', () => {
    expect(message(() => parse(small, { variance_type: 'learned_range' }))).toContain('out_channels: expected 6');
  });

  test('all of both files in one error', () => {
    const text = message(() =>
      parse({ ...small, act_fn: 'gelu', dropout: '0', new: 1 }, { thresholding: true, new: 2 }),
    );
    expect(text.split('\n').map((line) => line.split(':').slice(0, 2).join(':'))).toEqual([
      'unet/config.json: dropout',
      'unet/config.json: act_fn',
      'unet/config.json: unknown settings',
      'scheduler_config.json: thresholding',
      'scheduler_config.json: unknown settings',
    ]);
  });

  test('a thousand unknown settings with long names give a short message', () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`${i}`.repeat(1000), 1]));
    const text = message(() => parse({ ...small, ...many }));
    expect(text.length).toBeLessThan(3_000);
    expect(text).toContain(', 980 more');
  });

  test('another pipeline', () => {
    const index = { _class_name: 'StableDiffusionPipeline' };
    expect(message(() => checkModelIndex('model_index.json', index))).toBe(
      "model_index.json: _class_name: expected 'DDPMPipeline', 'DDIMPipeline', 'PNDMPipeline' or 'RePaintPipeline', got 'StableDiffusionPipeline' (string)",
    );
  });
});

describe('there and back', () => {
  const image = { height: 16, width: 32, channels: 2 };
  test.each<[string, DdpmConfig]>([
    ...Object.entries(presets),
    [
      'rectangular',
      {
        image,
        unet: {
          channelMultipliers: [1, 4 / 3],
          channels: 96,
          normGroups: 8,
          attentionResolutions: [16, 8],
          attentionHeadChannels: 32,
        },
      },
    ],
    [
      'with classes',
      {
        image,
        unet: {
          classes: 7,
          dropout: 0.25,
          normEpsilon: 1e-7,
          downsamplePadding: 'symmetric',
          flipSinToCos: true,
          frequencyShift: 0,
          blocksPerLevel: 3,
          attentionResolutions: [],
        },
      },
    ],
    [
      'cosine',
      { image, diffusion: { betaSchedule: 'cosine', timesteps: 50, varianceType: 'fixed_small', clipSample: false } },
    ],
    ['scaled linear', { image, diffusion: { betaSchedule: 'scaled_linear', betaStart: 0.00085, betaEnd: 0.012 } }],
    ['given betas', { image, diffusion: { betas: [0.1, 0.2, 1 / 3], varianceType: 'learned_range' } }],
  ])('%s', (_, config) => {
    const resolved = resolveConfig(config);
    const { unetConfig, schedulerConfig } = JSON.parse(JSON.stringify(diffusersFiles(resolved)));
    const { unet, diffusion, image } = resolveConfig(parse(unetConfig, schedulerConfig));
    expect({ unet, diffusion, image }).toEqual({
      unet: resolved.unet,
      diffusion: resolved.diffusion,
      image: resolved.image,
    });
  });

  test('a first multiplier other than 1 comes back as the same widths', () => {
    const resolved = resolveConfig({
      image,
      unet: { channels: 32, channelMultipliers: [2, 4], attentionResolutions: [] },
    });
    const { unetConfig, schedulerConfig } = diffusersFiles(resolved);
    expect(parse(unetConfig, schedulerConfig).unet).toMatchObject({ channels: 64, channelMultipliers: [1, 2] });
  });
});
