import { Ddpm, type DdpmConfig, presets } from '../../lib';
import { device } from '../helpers/device';
import { small } from './models';

test.each([
  ['cifar10', 35_746_307],
  ['celebaHq256', 113_673_219],
  ['lsun256', 113_673_219],
  ['lsunBedroomLarge256', 255_677_955],
] as const)("the paper's %s model has %d parameters", async (name, count) => {
  await using ddpm = new Ddpm({ ...presets[name], device });
  expect(ddpm.parameterCount).toBe(count);
});

test.each<[string, DdpmConfig]>([
  ['a plain model', small],
  ['classes', { ...small, unet: { ...small.unet, classes: 10 } }],
  ['a learned variance', { ...small, diffusion: { varianceType: 'learned_range' } }],
])('is the number of values that parameters() gives: %s', async (_, config) => {
  await using ddpm = new Ddpm(config);
  const parameters = [...(await ddpm.parameters()).values()];
  for (const { data, shape } of parameters)
    expect(data).toHaveLength(shape.reduce((product, size) => product * size, 1));
  expect(parameters.reduce((sum, { data }) => sum + data.length, 0)).toBe(ddpm.parameterCount);
});
