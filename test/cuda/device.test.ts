/** Which devices a model can be given. */
import { Ddpm } from '../../lib';
import { randomImages } from '../model/datasets';
import { small } from '../model/models';
import { cudaAvailable, describeWithCard } from './card';

const withDevice = (device: 'auto' | 'cuda' | `cuda:${number}`) => new Ddpm({ ...small, device });

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

describeWithCard('on a card', () => {
  test("'cuda' is its first", async () => {
    await using ddpm = withDevice('cuda');
    expect(ddpm.device).toBe('cuda:0');
  });
});
