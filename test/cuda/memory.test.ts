/** Memory of a card: work that it has none for is refused, and models that go give all of theirs back. */
import { Ddpm, type DdpmConfig, fromPixels, type SampleOptions } from '../../lib';
import { native } from '../../lib/binding';
import { randomImages } from '../model/datasets';
import { small } from '../model/models';
import { describeWithCard } from './card';

/** Maps of 1 MiB an image at the finest level. */
const wide = {
  image: { size: 32, channels: 3 },
  unet: { channels: 256, channelMultipliers: [1, 1], blocksPerLevel: 1, attentionResolutions: [] },
  device: 'cuda',
} as const satisfies DdpmConfig;
/** Two maps of so many images are more than the card has. */
const tooMany = Math.ceil((0.6 * native().deviceMemory(0).total) / 2 ** 20);

const code = (work: Promise<unknown>) =>
  work.then(
    () => 'ok',
    (error) => error.code ?? String(error),
  );

describeWithCard('on a card', () => {
  test('work that is too large is refused, and the rest goes on', async () => {
    await using ddpm = new Ddpm(wide);
    const quick: SampleOptions = { sampler: 'ddim', steps: 2, seed: 1 };
    const before = await ddpm.sample(2, quick);
    const side = 32;
    const levels = Uint8Array.from({ length: 4 * side * side * 3 }, (_, i) => 37 * i);
    const data = await fromPixels(levels, { count: 4, height: side, width: side, channels: 3 });
    expect({
      'a batch too large to sample': await code(ddpm.sample(tooMany, { ...quick, batchSize: tooMany })),
      'sample after it': await code(ddpm.sample(1, quick)),
      'a batch too large to train on': await code(ddpm.train(data, { steps: 1, batchSize: tooMany })),
      'train after it': await code(ddpm.train(data, { steps: 1, batchSize: 2 })),
      'too many images to predict': await code(ddpm.predictNoise(new Float32Array(tooMany * 3 * side ** 2), 1)),
    }).toEqual({
      'a batch too large to sample': 'ERR_OUT_OF_MEMORY',
      'sample after it': 'ok',
      'a batch too large to train on': 'ERR_OUT_OF_MEMORY',
      'train after it': 'ok',
      'too many images to predict': 'ERR_OUT_OF_MEMORY',
    });
    const [one, beside, another] = await Promise.all([
      code(ddpm.sample(2, quick)),
      code(ddpm.sample(tooMany, { ...quick, batchSize: tooMany })),
      code(ddpm.sample(1, quick)),
    ]);
    expect([one, beside, another]).toEqual(['ok', 'ERR_OUT_OF_MEMORY', 'ok']);
    await using again = new Ddpm(wide);
    expect((await again.sample(2, quick)).data).toEqual(before.data);
  }, 300_000);

  test('200 models that come, work and go leave as much memory as there was', async () => {
    const data = await randomImages(4);
    const round = async (i: number) => {
      await using ddpm = new Ddpm({ ...small, device: 'cuda', precision: i % 2 ? 'float32' : 'bfloat16' });
      await ddpm.train(data, { steps: 3, batchSize: 2 });
      await ddpm.sample(2, { steps: 3 });
    };
    const free = () => native().deviceMemory(0).free;
    // What the process keeps is there after a few.
    for (let i = 0; i < 20; i++) await round(i);
    const before = free();
    for (let i = 0; i < 200; i++) await round(i);
    expect(before - free()).toBeLessThanOrEqual(8 * 2 ** 20);
  }, 300_000);
});
