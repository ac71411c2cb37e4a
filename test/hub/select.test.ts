/** Which files are taken, by the lists of repositories as they are published. */
import { isModelFile, selectFiles, shardsOf } from '../../lib/hub/select';

/** As the DDPM repositories of 2022. */
const flat = [
  '.gitattributes',
  'README.md',
  'config.json',
  'diffusion_pytorch_model.bin',
  'diffusion_pytorch_model.safetensors',
  'images/generated_image_0.png',
  'model_index.json',
  'scheduler_config.json',
];
const flatDescriptions = ['model_index.json', 'config.json', 'scheduler_config.json'];

/** As `save_pretrained` writes today. */
const folders = [
  '.gitattributes',
  'README.md',
  'logs/train/events.out.tfevents',
  'model_index.json',
  'samples/0099.png',
  'scheduler/scheduler_config.json',
  'unet/config.json',
  'unet/diffusion_pytorch_model.safetensors',
  'unet_ema/config.json',
  'unet_ema/diffusion_pytorch_model.safetensors',
];
const descriptions = ['model_index.json', 'unet/config.json', 'scheduler/scheduler_config.json'];
const withoutWeights = folders.filter((path) => !path.startsWith('unet/diffusion'));

const without = (paths: string[], path: string) => paths.filter((one) => one !== path);

test.each([
  ['flat', flat, [...flatDescriptions, 'diffusion_pytorch_model.safetensors']],
  [
    'flat, with a pickle only',
    without(flat, 'diffusion_pytorch_model.safetensors'),
    [...flatDescriptions, 'diffusion_pytorch_model.bin'],
  ],
  ['folders', folders, [...descriptions, 'unet/diffusion_pytorch_model.safetensors']],
  [
    'folders with files of the flat layout',
    [...folders, ...flat],
    [...descriptions, 'unet/diffusion_pytorch_model.safetensors'],
  ],
  [
    'saved here',
    [...folders, 'ddpm_node.json'],
    [...descriptions, 'ddpm_node.json', 'unet/diffusion_pytorch_model.safetensors'],
  ],
  [
    'flat, with a folder for the schedule',
    [...without(flat, 'scheduler_config.json'), 'scheduler/scheduler_config.json'],
    ['model_index.json', 'config.json', 'scheduler/scheduler_config.json', 'diffusion_pytorch_model.safetensors'],
  ],
  ['a network alone', ['config.json', 'diffusion_pytorch_model.bin'], ['config.json', 'diffusion_pytorch_model.bin']],
])('%s', (_, paths, expected) => {
  expect(selectFiles(paths)).toEqual({ files: expected, shardIndex: undefined });
});

test('the variant that is asked for, and no other', () => {
  const paths = [...folders, 'unet/diffusion_pytorch_model.fp16.safetensors', 'unet/diffusion_pytorch_model.fp16.bin'];
  expect(selectFiles(paths).files).toEqual([...descriptions, 'unet/diffusion_pytorch_model.safetensors']);
  expect(selectFiles(paths, 'fp16').files).toEqual([...descriptions, 'unet/diffusion_pytorch_model.fp16.safetensors']);
  expect(() => selectFiles(paths, 'bf16')).toThrow(
    "expected weights of the variant 'bf16' (unet/diffusion_pytorch_model.bf16.safetensors), got only the variants 'fp16' (option 'variant')",
  );
  expect(() => selectFiles(without(paths, 'unet/diffusion_pytorch_model.safetensors'))).toThrow(
    "expected weights (unet/diffusion_pytorch_model.safetensors), got only the variants 'fp16' (option 'variant')",
  );
});

test('raw weights that were saved here beside their average', () => {
  const raw = 'unet/diffusion_pytorch_model.raw.safetensors';
  const average = 'unet/diffusion_pytorch_model.safetensors';
  const saved = [...folders, 'ddpm_node.json', raw];
  expect(selectFiles(saved).files).toEqual([...descriptions, 'ddpm_node.json', raw, average]);
  expect(selectFiles(saved, 'raw').files).toEqual([...descriptions, 'ddpm_node.json', raw]);
  // Of somebody else's they are a variant like any other.
  expect(selectFiles([...folders, raw]).files).toEqual([...descriptions, average]);
});

test.each([
  [
    undefined,
    'unet/diffusion_pytorch_model.safetensors.index.json',
    'unet/diffusion_pytorch_model-00001-of-00002.safetensors',
  ],
  [
    'fp16',
    'unet/diffusion_pytorch_model.safetensors.index.fp16.json',
    'unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors',
  ],
  [
    'fp16',
    'unet/diffusion_pytorch_model.safetensors.fp16.index.json',
    'unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors',
  ],
  [undefined, 'unet/diffusion_pytorch_model.bin.index.json', 'unet/diffusion_pytorch_model-00001-of-00002.bin'],
])('shards of %s by %s', (variant, index, shard) => {
  const second = shard.replace('00001', '00002');
  const paths = [...withoutWeights, index, shard, second];
  expect(selectFiles(paths, variant)).toEqual({ files: [...descriptions, index], shardIndex: index });
  const name = (path: string) => path.slice('unet/'.length);
  const weightMap = { a: name(shard), b: name(second), c: name(shard) };
  expect(shardsOf(index, { weight_map: weightMap }, paths)).toEqual([shard, second]);
});

test('safetensors in shards go before a pickle', () => {
  const index = 'unet/diffusion_pytorch_model.safetensors.index.json';
  const paths = [...withoutWeights, index, 'unet/diffusion_pytorch_model.bin'];
  expect(selectFiles(paths).shardIndex).toBe(index);
});

test('an index goes before a single file, as in loading', () => {
  const index = 'unet/diffusion_pytorch_model.safetensors.index.json';
  expect(selectFiles([...folders, index])).toEqual({ files: [...descriptions, index], shardIndex: index });
});

test('no weights', () => {
  expect(() => selectFiles(withoutWeights)).toThrow(
    'expected weights (unet/diffusion_pytorch_model.safetensors), got none',
  );
});

test.each([
  '../../secret.safetensors',
  '/etc/passwd',
  'diffusion_pytorch_model-00009-of-00009.safetensors',
  'config.json',
  'diffusion_pytorch_model.bin',
  5,
  null,
])('an index that names %p', (name) => {
  const index = 'unet/diffusion_pytorch_model.safetensors.index.json';
  // Even where the listing has it.
  const paths = [
    ...folders,
    index,
    'unet/../../secret.safetensors',
    'unet//etc/passwd',
    'unet/diffusion_pytorch_model.bin',
  ];
  expect(() => shardsOf(index, { weight_map: { a: name } }, paths)).toThrow(
    `${index}: names ${JSON.stringify(name)}, which the repository does not hold`,
  );
});

test.each([{}, { weight_map: null }, { weight_map: [] }, { weight_map: 'x' }])('an index that is %p', (contents) => {
  expect(() => shardsOf('diffusion_pytorch_model.bin.index.json', contents, [])).toThrow(
    "expected an object 'weight_map'",
  );
});

test.each([
  '../config.json',
  'unet/../../diffusion_pytorch_model.safetensors',
  'unet/unet/diffusion_pytorch_model.safetensors',
  'unet\\..\\diffusion_pytorch_model.safetensors',
  'diffusion_pytorch_model/../../x.safetensors',
  '/unet/config.json',
  'unet/config.json/..',
  'C:diffusion_pytorch_model.safetensors',
  '',
])('no file of a model: %s', (path) => {
  expect(isModelFile(path)).toBe(false);
});
