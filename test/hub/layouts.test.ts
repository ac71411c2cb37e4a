/** Every layout that `load()` reads comes from a hub as it comes from a folder. */
import { cpSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type HubOptions } from '../../lib';
import { failure, temporaryFolder } from '../helpers/folder';
import { filesOf } from './server';
import { hubForEachTest, modelFolder, prediction, repository, weightsName } from './support';

const { hub, options } = hubForEachTest();
const folder = temporaryFolder();
const flat = join(__dirname, '../fixtures/flat-2022');

/** Loads a folder from the hub and from the disk; returns the names of the weights that were fetched. */
async function bothAgree(path: string, more: HubOptions = {}): Promise<string[]> {
  hub.commit(repository, filesOf(path));
  const ours = await prediction(await Ddpm.fromHub(repository, options(more)));
  expect(ours).toEqual(await prediction(await Ddpm.load(path, { device: 'cpu', variant: more.variant })));
  return hub.transfers('diffusion').map((line) => line.split(' ')[0]);
}

/** A copy of the small model, with its weights under another name. */
function renamed(name: string): string {
  const path = join(folder(), 'model');
  cpSync(modelFolder, path, { recursive: true });
  renameSync(join(path, 'unet', weightsName), join(path, 'unet', name));
  return path;
}

test('a flat folder of 2022 with a pickle', async () => {
  expect(await bothAgree(flat)).toEqual(['diffusion_pytorch_model.bin']);
});

test('a variant', async () => {
  const path = renamed('diffusion_pytorch_model.fp16.safetensors');
  expect(await bothAgree(path, { variant: 'fp16' })).toEqual(['diffusion_pytorch_model.fp16.safetensors']);
  expect(await failure(Ddpm.fromHub(repository, options()), 'ERR_CHECKPOINT')).toContain("only the variants 'fp16'");
});

test('a second variant is fetched into the same snapshot', async () => {
  const path = renamed('diffusion_pytorch_model.fp16.safetensors');
  cpSync(join(path, 'unet/diffusion_pytorch_model.fp16.safetensors'), join(path, 'unet', weightsName));
  expect(await bothAgree(path)).toEqual([weightsName]);
  hub.requests = [];
  // The contents are the same, and are here.
  expect(await bothAgree(path, { variant: 'fp16' })).toEqual([]);
});

test('shards', async () => {
  const shard = 'diffusion_pytorch_model-00001-of-00001.safetensors';
  const path = renamed(shard);
  const header = filesOf(path)[`unet/${shard}`];
  const names = Object.keys(JSON.parse(header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString()));
  const weightMap = Object.fromEntries(names.filter((name) => name !== '__metadata__').map((name) => [name, shard]));
  const index = join(path, 'unet/diffusion_pytorch_model.safetensors.index.json');
  writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: weightMap }));
  expect((await bothAgree(path)).sort()).toEqual([shard, 'diffusion_pytorch_model.safetensors.index.json'].sort());
});

test('raw weights beside their average', async () => {
  const path = join(folder(), 'saved');
  const ddpm = await Ddpm.load(modelFolder, { device: 'cpu' });
  await ddpm.save(path, { rawWeights: true });
  await ddpm.dispose();
  expect(await bothAgree(path)).toHaveLength(2);
});

test('a network alone, with the schedule as an option', async () => {
  const { 'config.json': config, 'diffusion_pytorch_model.bin': weights } = filesOf(flat);
  hub.commit(repository, { 'config.json': config, 'diffusion_pytorch_model.bin': weights });
  const ddpm = await Ddpm.fromHub(repository, options({ diffusion: { timesteps: 50 } }));
  expect(ddpm.config.diffusion.timesteps).toBe(50);
  await ddpm.dispose();
});
