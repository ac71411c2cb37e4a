/** Copies of the weights: every value, also of those too large to be copied in one piece. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm } from '../../lib';
import { SafetensorsFile } from '../../lib/checkpoint/formats/safetensors';
import { layout } from '../../lib/checkpoint/model/layout';
import { device } from '../helpers/device';

test('are what save() writes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-parameters-'));
  await using ddpm = new Ddpm({
    image: { size: 4, channels: 1 },
    unet: { channels: 192, channelMultipliers: [1], blocksPerLevel: 1, attentionResolutions: [], normGroups: 4 },
    device,
  });
  try {
    await ddpm.save(folder);
    const file = await SafetensorsFile.open(join(folder, layout.weights));
    const parameters = await ddpm.parameters();
    expect([...parameters.keys()].sort()).toEqual([...file.tensors.keys()].sort());
    for (const [name, { data, shape }] of parameters) {
      expect(shape).toEqual(file.tensors.get(name)?.shape);
      const pieces: Buffer[] = [];
      for await (const bytes of file.chunks(name)) pieces.push(Buffer.from(bytes));
      expect(Buffer.concat(pieces).equals(new Uint8Array(data.buffer))).toBe(true);
    }
    expect(parameters.get('mid_block.resnets.0.conv1.weight')?.data).toHaveLength(192 * 192 * 9);
    await file.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
