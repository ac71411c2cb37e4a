/** The noise schedules against those of the reference implementation, all in float64. */
import { Ddpm, type DiffusionOptions, type ScheduleQuantity } from '../../lib';
import { type FixtureTensor, readTensors, referencePath } from '../helpers/fixtures';
import { small } from '../model/models';
import { relativeEach } from '../model/numbers';

const quantities: ScheduleQuantity[] = [
  'betas',
  'alphas_cumprod',
  'sqrt_alphas_cumprod',
  'sqrt_one_minus_alphas_cumprod',
  'posterior_variance',
  'posterior_mean_coef_x0',
  'posterior_mean_coef_xt',
];

describe.each(['linear', 'cosine', 'scaled_linear'] satisfies DiffusionOptions['betaSchedule'][])(
  '%s',
  (betaSchedule) => {
    let reference: Record<string, FixtureTensor>;
    let ddpm: Ddpm;
    beforeAll(async () => {
      reference = await readTensors(referencePath('schedules.safetensors'));
      ddpm = new Ddpm({ ...small, diffusion: { betaSchedule } });
    });
    afterAll(() => ddpm.dispose());

    test.each(quantities)('%s agrees to 1e-12 at every timestep', (quantity) => {
      const expected = reference[`${betaSchedule}-1000.${quantity}`].data as Float64Array;
      expect(expected).toHaveLength(1000);
      expect(relativeEach(ddpm.diffusion.schedule(quantity), expected)).toBeLessThanOrEqual(1e-12);
    });

    test('alphas_cumprod_prev is alphas_cumprod one timestep before', () => {
      const alphaBar = ddpm.diffusion.schedule('alphas_cumprod');
      expect([...ddpm.diffusion.schedule('alphas_cumprod_prev')]).toEqual([1, ...alphaBar.subarray(0, 999)]);
    });

    test('the same schedule comes from its betas given one by one', async () => {
      await using given = new Ddpm({ ...small, diffusion: { betas: [...ddpm.diffusion.schedule('betas')] } });
      for (const quantity of quantities) {
        expect(given.diffusion.schedule(quantity)).toEqual(ddpm.diffusion.schedule(quantity));
      }
    });
  },
);
