/** Which devices a model can be given. */
import { Ddpm, type Device } from '../../lib';
import { native } from '../../lib/binding';
import { warningsOf } from '../checkpoint/state/support';
import { randomImages } from '../model/datasets';
import { randomModel, small } from '../model/models';
import { cudaAvailable, describeWithCard, networks } from './card';

const withDevice = (device: Device) => new Ddpm({ ...small, device });

test('a build for CUDA without a device that it can use says so once', async () => {
  const { cudaProblem } = native();
  const warnings = await warningsOf(async () => {
    for (let i = 0; i < 2; i++) await withDevice('auto').dispose();
    await withDevice('cpu').dispose();
  });
  const message = expect.stringContaining(
    `device: 'auto' is the CPU, although this build of ddpm-node is one for CUDA: ${cudaProblem}`,
  );
  expect(warnings).toEqual(cudaProblem === undefined ? [] : [{ code: 'DDPM_NO_CUDA_DEVICE', message }]);
});

test("'auto' trains and samples on what there is", async () => {
  await using ddpm = withDevice('auto');
  expect(ddpm.device).toBe(cudaAvailable ? 'cuda:0' : 'cpu');
  const { step, loss } = await ddpm.train(await randomImages(8), { steps: 3, batchSize: 4 });
  expect(step).toBe(3);
  expect(loss).toBeGreaterThan(0);
  const { data } = await ddpm.sample(2, { steps: 3 });
  expect(data).toHaveLength(2 * 64);
});

test('a card that there is none of is refused by name', () => {
  expect(() => withDevice('cuda:99')).toThrow(
    expect.objectContaining({ code: 'ERR_CONFIG', message: expect.stringMatching(/^device: expected .*'cuda:99'/) }),
  );
});

test('tf32 is a precision of CUDA devices alone', () => {
  expect(() => new Ddpm({ ...small, device: 'cpu', precision: 'tf32' })).toThrow(
    expect.objectContaining({
      code: 'ERR_CONFIG',
      message:
        "precision: expected 'float32' or 'bfloat16' ('tf32' is a precision of CUDA devices, and this model's device is " +
        "'cpu'), got 'tf32' (string)",
    }),
  );
});

describeWithCard('on a card', () => {
  test("'cuda' is its first", async () => {
    await using ddpm = withDevice('cuda');
    expect(ddpm.device).toBe('cuda:0');
  });

  test('a model is what it is alone, however many others come and go beside it', async () => {
    const config = { ...networks['packs of channels'], device: 'cuda' } as const;
    const pictures = async (ddpm: Ddpm) => {
      const made: number[][] = [];
      for (const count of [3, 2, 3]) made.push([...(await ddpm.sample(count, { steps: 5, seed: 1 })).data]);
      return made;
    };
    await using first = await randomModel(config);
    const alone = await pictures(first);
    // More than the streams of LibTorch's pool.
    for (let i = 0; i < 40; i++) {
      await using other = await randomModel(config);
      expect(await Promise.all([pictures(first), pictures(other)])).toEqual([alone, alone]);
    }
  }, 300_000);
});
