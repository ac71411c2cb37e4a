/** Running tests where there is a card, on the card and on the CPU. */
import type { DdpmConfig } from '../../lib';
import { native } from '../../lib/binding';
import { randomModel, small } from '../model/models';

/** Whether this build and this machine have a CUDA device. */
export const cudaAvailable = native().cudaAvailable;

/** `describe` where there is a card; elsewhere the tests are listed as skipped, under a name that says why. */
export function describeWithCard(name: string, body: () => void): void {
  if (cudaAvailable) describe(name, body);
  else describe.skip(`${name} (skipped: this build or this machine has no CUDA device)`, body);
}

/** Networks that between them take every way through the kernels. */
export const networks: Record<string, DdpmConfig> = {
  'packs of channels': { ...small, unet: { ...small.unet, channels: 32, normGroups: 8 } },
  'channels one by one': { ...small, unet: { ...small.unet, channels: 6, normGroups: 3 } },
  'several heads, classes, three levels': {
    ...small,
    image: { size: 16, channels: 3 },
    unet: { ...small.unet, channels: 16, channelMultipliers: [1, 2, 2], attentionHeadChannels: 8, classes: 4 },
  },
};

/** What `work` gives on the card and on the CPU, for the same random model. */
export async function onBoth<T>(
  config: DdpmConfig,
  work: (ddpm: Awaited<ReturnType<typeof randomModel>>) => Promise<T>,
): Promise<{ cuda: T; cpu: T }> {
  await using onCuda = await randomModel({ ...config, device: 'cuda' });
  await using onCpu = await randomModel({ ...config, device: 'cpu' });
  return { cuda: await work(onCuda), cpu: await work(onCpu) };
}
