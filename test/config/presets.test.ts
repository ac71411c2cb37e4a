import { type DdpmConfig, nativeModelOptions, presets, resolveConfig } from '../../lib/config';
import { parameterCount } from './parameterCount';

const count = (config: DdpmConfig) => parameterCount(nativeModelOptions(resolveConfig(config)).unet);

test.each([
  ['cifar10', 35_746_307],
  ['celebaHq256', 113_673_219],
  ['lsun256', 113_673_219],
  ['lsunBedroomLarge256', 255_677_955],
  ['tiny', 1_113_955],
] as const)('%s has %d parameters', (name, parameters) => {
  expect(count(presets[name])).toBe(parameters);
});

test('the defaults alone, at 32×32 in RGB, are the CIFAR-10 model', () => {
  const image = { size: 32, channels: 3 };
  expect(resolveConfig({ image })).toEqual(resolveConfig(presets.cifar10));
});

test('the 256×256 models differ from it as the paper and its code say', () => {
  const cifar10 = resolveConfig(presets.cifar10);
  const expected = {
    ...cifar10,
    image: { height: 256, width: 256, channels: 3 },
    unet: { ...cifar10.unet, channelMultipliers: [1, 1, 2, 2, 4, 4], dropout: 0 },
    diffusion: { ...cifar10.diffusion, varianceType: 'fixed_small' },
    optimizer: { ...cifar10.optimizer, learningRate: 2e-5 },
  };
  expect(resolveConfig(presets.celebaHq256)).toEqual(expected);
  expect(resolveConfig(presets.lsun256)).toEqual(expected);
  const large = { ...expected, unet: { ...expected.unet, channels: 192 } };
  expect(resolveConfig(presets.lsunBedroomLarge256)).toEqual(large);
});

test('presets are frozen all the way down', () => {
  const frozen = (value: unknown): boolean =>
    typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
  expect(frozen(presets)).toBe(true);
  expect(() => Object.assign(presets.cifar10, { seed: 1 })).toThrow(TypeError);
});
