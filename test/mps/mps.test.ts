/** A Mac's GPU, against its CPU; elsewhere, that it is refused. */
import { Ddpm, DdpmError, type Device } from '../../lib';
import { randomImages } from '../model/datasets';
import { randomModel, small } from '../model/models';

function refusal(): DdpmError | undefined {
  try {
    void new Ddpm({ ...small, device: 'mps' }).dispose();
    return undefined;
  } catch (error) {
    return error as DdpmError;
  }
}

const refused = refusal();

test("'mps' is taken on a Mac alone, and refused by name elsewhere", () => {
  if (refused === undefined) {
    expect(process.platform).toBe('darwin');
    return;
  }
  expect(refused).toBeInstanceOf(DdpmError);
  expect(refused).toMatchObject({
    code: 'ERR_CONFIG',
    message: expect.stringMatching(/^device: expected 'cpu' or 'auto', got 'mps': .* no GPU of Apple's/),
  });
});

const describeOnMac =
  refused === undefined
    ? describe
    : (name: string, body: () => void) => describe.skip(`${name} (skipped: there is no GPU of Apple's here)`, body);

/** What `work` gives on the GPU and on the CPU, for the same random model. */
async function onBoth<T>(work: (ddpm: Ddpm) => Promise<T>): Promise<[T, T]> {
  const results: T[] = [];
  for (const device of ['mps', 'cpu'] satisfies Device[]) {
    await using ddpm = await randomModel({ ...small, device });
    results.push(await work(ddpm));
  }
  return results as [T, T];
}

function expectNear(found: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number) {
  expect(found.length).toBe(wanted.length);
  const worst = Math.max(...Array.from(wanted, (value, i) => Math.abs(found[i] - value)));
  expect(worst).toBeLessThan(tolerance * Math.max(...Array.from(wanted, Math.abs)));
}

describeOnMac("on a Mac's GPU", () => {
  const x = Float32Array.from({ length: 2 * 64 }, (_, i) => Math.sin(i));

  test('the network gives what it does on the CPU', async () => {
    const [gpu, cpu] = await onBoth(async (ddpm) => (await ddpm.predictNoise(x, [3, 700])).data);
    expectNear(gpu, cpu, 1e-4);
  });

  test('so does a step of training', async () => {
    const noise = Float32Array.from(x, (value) => -value);
    const [gpu, cpu] = await onBoth((ddpm) => ddpm.trainStep({ x0: x, t: [3, 700], noise }));
    expectNear([gpu.loss, gpu.gradientNorm], [cpu.loss, cpu.gradientNorm], 1e-3);
  });

  test('it trains and samples', async () => {
    await using ddpm = await randomModel({ ...small, device: 'mps' });
    expect(ddpm.device).toBe('mps:0');
    const { step, loss } = await ddpm.train(await randomImages(8), { steps: 3, batchSize: 4 });
    expect(step).toBe(3);
    expect(loss).toBeGreaterThan(0);
    expect((await ddpm.sample(2, { steps: 3 })).data).toHaveLength(2 * 64);
  });
});
