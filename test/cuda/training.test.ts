/** Training on a card: the CPU's losses, gradients and weights, its guard, and its exactness. */
import { join } from 'node:path';
import { Ddpm, type DdpmConfig, type TrainProgress } from '../../lib';
import { essence, fingerprint, images, options, config as resumed } from '../checkpoint/state/support';
import { failure, temporaryFolder } from '../helpers/folder';
import { flat, randomModel, sameParameters, small, valuesOf } from '../model/models';
import { largestDifference, normals, relativeEach, relativeToLargest } from '../model/numbers';
import { describeWithCard, networks, onBoth } from './card';

const folder = temporaryFolder();
const optimizer = { learningRate: 1e-3, warmupSteps: 0 };

/** Trains for 8 steps: the first pass one by one, the others captured. */
async function training(ddpm: Ddpm) {
  const losses: number[] = [];
  const norms: number[] = [];
  const onProgress = ({ loss, gradientNorm }: TrainProgress) => {
    losses.push(loss);
    norms.push(gradientNorm);
  };
  await ddpm.train(await images(), { ...options, steps: 8, onProgress });
  return { losses, norms, raw: flat(await valuesOf(ddpm, 'raw')), ema: flat(await valuesOf(ddpm, 'ema')) };
}

describeWithCard('on a card', () => {
  test.each(Object.entries(networks))('gradients are the CPU’s: %s', async (_, config: DdpmConfig) => {
    const { cuda, cpu } = await onBoth(config, async (ddpm) => {
      const { image, unet } = ddpm.config;
      const elements = 4 * image.channels * image.height * image.width;
      const labels = unet.classes ? { classLabels: [0, 1, 2, 3] } : {};
      const given = { x0: normals(elements, 1), noise: normals(elements, 2), t: [1, 30, 400, 900], ...labels };
      const { loss, gradientNorm } = await ddpm.trainStep(given);
      return { told: [loss, gradientNorm], gradient: flat(await valuesOf(ddpm, 'gradient')) };
    });
    expect(relativeEach(cuda.told, cpu.told)).toBeLessThanOrEqual(1e-4);
    expect(relativeToLargest(cuda.gradient, cpu.gradient)).toBeLessThanOrEqual(1e-4);
  });

  test('a training with dropout, classes, mirrored images and accumulated gradients is the CPU’s', async () => {
    const { cuda, cpu } = await onBoth({ ...resumed, optimizer }, training);
    expect(cuda.losses).toHaveLength(8);
    expect(relativeEach(cuda.losses, cpu.losses)).toBeLessThanOrEqual(1e-3);
    expect(relativeEach(cuda.norms, cpu.norms)).toBeLessThanOrEqual(1e-2);
    // Adam's first steps are of the size of the rate, whatever that of the gradient is: where it is all but zero,
    // rounding decides on the sign.
    expect(largestDifference(cuda.ema, cpu.ema)).toBeLessThanOrEqual(8e-3);
    expect(relativeToLargest(cuda.raw, cpu.raw)).toBeLessThanOrEqual(1e-2);
  });

  test('weight decay, no clipping, no moving average', async () => {
    const config: DdpmConfig = {
      ...small,
      ema: { decay: 0, warmup: false },
      optimizer: { ...optimizer, weightDecay: 0.1, gradientClip: null },
    };
    const { cuda, cpu } = await onBoth(config, async (ddpm) => {
      const given = { x0: normals(128, 1), noise: normals(128, 2), t: [100, 700] };
      for (let i = 0; i < 3; i++) await ddpm.trainStep(given);
      return { raw: flat(await valuesOf(ddpm, 'raw')), ema: flat(await valuesOf(ddpm, 'ema')) };
    });
    expect(cuda.ema).toEqual(cuda.raw);
    expect(largestDifference(cuda.raw, cpu.raw)).toBeLessThanOrEqual(3e-3);
  });

  test.each<DdpmConfig['precision']>(['float32', 'bfloat16'])(
    '%s: two trainings are the same, bit for bit',
    async (precision) => {
      const config: DdpmConfig = { ...resumed, device: 'cuda', precision };
      await using one = new Ddpm(config);
      await using other = new Ddpm(config);
      for (const ddpm of [one, other]) await training(ddpm);
      expect(await fingerprint(one)).toBe(await fingerprint(other));
    },
  );

  test('bfloat16 learns as float32 does', async () => {
    const { cuda } = await onBoth({ ...resumed, optimizer, precision: 'bfloat16' }, training);
    const { cpu } = await onBoth({ ...resumed, optimizer }, training);
    expect(relativeEach(cuda.losses, cpu.losses)).toBeLessThanOrEqual(5e-2);
  });

  test('a training that is taken up again is the one that never stopped', async () => {
    const config: DdpmConfig = { ...resumed, device: 'cuda' };
    const directory = join(folder(), 'checkpoints');
    const steps = 12;
    const reports: unknown[] = [];
    const onProgress = (report: TrainProgress) => reports.push(essence(report));
    await using whole = new Ddpm(config);
    await whole.train(await images(), { ...options, steps, onProgress });
    const undisturbed = reports.splice(0);

    await using first = new Ddpm(config);
    const checkpoint = { directory, every: 5 };
    await first.train(await images(), { ...options, steps: 5, onProgress, checkpoint });
    await using second = await Ddpm.resume(directory, { device: 'cuda' });
    expect(second.step).toBe(5);
    await second.train(await images(), { ...options, steps, onProgress });
    expect(await fingerprint(second)).toBe(await fingerprint(whole));
    expect(JSON.stringify(reports.slice(5))).toBe(JSON.stringify(undisturbed.slice(5)));
  });

  test('a training that is stopped in a pass and goes on is the one that never stopped', async () => {
    const config: DdpmConfig = { ...resumed, device: 'cuda' };
    await using whole = new Ddpm(config);
    await training(whole);
    for (const delay of [0, 1, 5, 20]) {
      await using stopped = new Ddpm(config);
      const signal = AbortSignal.timeout(delay);
      await stopped.train(await images(), { ...options, steps: 8, signal }).catch(() => {});
      await training(stopped);
      expect(await fingerprint(stopped)).toBe(await fingerprint(whole));
    }
  });

  test('samples meanwhile change nothing', async () => {
    const config: DdpmConfig = { ...resumed, device: 'cuda' };
    const train = async (during: (ddpm: Ddpm) => Promise<unknown>) => {
      await using ddpm = new Ddpm(config);
      let beside: Promise<unknown> | undefined;
      const onProgress = ({ step }: TrainProgress) => {
        if (step === 2) beside = during(ddpm);
      };
      await ddpm.train(await images(), { ...options, steps: 10, onProgress });
      await beside;
      return await fingerprint(ddpm);
    };
    const sample = (ddpm: Ddpm) => ddpm.sample(3, { steps: 4, classLabels: [0, 1, 2] });
    expect(await train(sample)).toBe(await train(async () => {}));
  });

  test('NaN in an image given: nothing is touched, and the message names it', async () => {
    await using ddpm = await randomModel({ ...small, optimizer, device: 'cuda' });
    const given = { x0: normals(4 * 64, 1), noise: normals(4 * 64, 2), t: [11, 22, 33, 44] };
    for (let i = 0; i < 3; i++) await ddpm.trainStep(given); // captured
    const before = [await valuesOf(ddpm, 'raw'), await valuesOf(ddpm, 'ema')];
    const x0 = given.x0.slice();
    x0[2 * 64 + 5] = Number.NaN;
    expect(await failure(ddpm.trainStep({ ...given, x0 }), 'ERR_NON_FINITE')).toMatch(
      /^trainStep: the loss of step 4 is not finite .* Image 2 of the 4 given causes it, at timestep 33\./,
    );
    expect(sameParameters(await valuesOf(ddpm, 'raw'), before[0])).toBe(true);
    expect(sameParameters(await valuesOf(ddpm, 'ema'), before[1])).toBe(true);
    expect((await ddpm.trainStep(given)).loss).toBeGreaterThan(0);
  });

  test.each([1e30, 1e38])('a learning rate of %p: weights stay within float32', async (learningRate) => {
    await using ddpm = await randomModel({
      ...small,
      device: 'cuda',
      optimizer: { learningRate, warmupSteps: 0, gradientClip: null },
      ema: { decay: 0, warmup: false },
    });
    const given = { x0: normals(64, 1), noise: normals(64, 2), t: 500 };
    let refused = 0;
    for (let i = 0; i < 9; i++) await ddpm.trainStep(given).catch(() => refused++);
    expect(refused).toBeGreaterThanOrEqual(8);
    expect(flat(await valuesOf(ddpm, 'raw')).every(Number.isFinite)).toBe(true);
  });
});
