/** Which timesteps a sampler visits, against those of the reference implementation. */
import { Ddpm, DdpmError, type SampleOptions } from '../../lib';
import { type FixtureTensor, readTensors, referencePath } from '../helpers/fixtures';
import { small } from '../model/models';

type Spacing = Required<SampleOptions>['timestepSpacing'];
const spacings: Spacing[] = ['leading', 'trailing', 'linspace'];

let ddpm: Ddpm;
let reference: Record<string, FixtureTensor>;
beforeAll(async () => {
  ddpm = new Ddpm(small);
  reference = await readTensors(referencePath('deterministic_samplers.safetensors'));
});
afterAll(() => ddpm.dispose());

describe.each(spacings)('%s', (spacing) => {
  test.each([10, 50])('%d steps are those of the reference', (steps) => {
    const expected = Array.from(reference[`ddim.${spacing}.${steps}.timesteps`].data as BigInt64Array, Number);
    expect([...ddpm.diffusion.samplerTimesteps(steps, spacing)]).toEqual(expected);
  });

  test('any number of steps gives so many different timesteps, noisiest first', () => {
    for (let steps = 1; steps <= 1000; steps++) {
      const visited = ddpm.diffusion.samplerTimesteps(steps, spacing);
      expect(visited).toHaveLength(steps);
      const inOrder = visited.every((t, i) => t >= 0 && t < (i === 0 ? 1000 : visited[i - 1]));
      expect(inOrder || steps).toBe(true);
    }
  });

  test('all steps are all timesteps', () => {
    expect([...ddpm.diffusion.samplerTimesteps(1000, spacing)]).toEqual(
      Array.from({ length: 1000 }, (_, i) => 999 - i),
    );
  });
});

test.each([
  [5, 'leading', [800, 600, 400, 200, 0]],
  [5, 'trailing', [999, 799, 599, 399, 199]],
  [5, 'linspace', [999, 749, 500, 250, 0]],
  [1, 'leading', [0]],
  [1, 'trailing', [999]],
  [1, 'linspace', [999]],
] as const)('%d steps, %s, are %j', (steps, spacing, expected) => {
  expect([...ddpm.diffusion.samplerTimesteps(steps, spacing)]).toEqual(expected);
});

test.each([
  [0, 'leading', "steps: expected an integer from 1 to 1000 (the model's timesteps), got 0 (number)"],
  [1001, 'leading', "steps: expected an integer from 1 to 1000 (the model's timesteps), got 1001 (number)"],
  [2.5, 'leading', "steps: expected an integer from 1 to 1000 (the model's timesteps), got 2.5 (number)"],
  ['10', 'leading', "steps: expected an integer from 1 to 1000 (the model's timesteps), got '10' (string)"],
  [10, 'middle', "spacing: expected 'leading', 'trailing' or 'linspace', got 'middle' (string)"],
  [10, undefined, "spacing: expected 'leading', 'trailing' or 'linspace', got undefined (undefined)"],
])('samplerTimesteps(%j, %j) is refused', (steps, spacing, message) => {
  const call = () => ddpm.diffusion.samplerTimesteps(steps as number, spacing as Spacing);
  expect(call).toThrow(new DdpmError('ERR_CONFIG', message));
});
