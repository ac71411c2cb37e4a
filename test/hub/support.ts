/** What the tests of the hub share: a hub with one small model, an empty cache, and ways to look at both. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Ddpm, type HubOptions } from '../../lib';
import { referencePath } from '../helpers/fixtures';
import { temporaryFolder } from '../helpers/folder';
import { FakeHub, filesOf } from './server';

/** A model of 1.1 MB in today's layout. */
export const modelFolder = referencePath('unet', 'legacy-16');
export const modelFiles = filesOf(modelFolder);
export const weightsPath = 'unet/diffusion_pytorch_model.safetensors';
export const weightsName = 'diffusion_pytorch_model.safetensors';
export const weights = modelFiles[weightsPath];
export const repository = 'someone/ddpm-tiny';

/** A hub for each test of the file, and an empty cache. */
export function hubForEachTest(): { hub: FakeHub; cacheDir: () => string; options: (more?: HubOptions) => HubOptions } {
  const cacheDir = temporaryFolder();
  const hub = new FakeHub();
  // A proxy of the machine's could not reach the hub of a test.
  for (const name of Object.keys(process.env)) if (/_proxy$/i.test(name)) delete process.env[name];
  beforeEach(() => hub.start());
  afterEach(async () => {
    await hub.stop();
    hub.reset();
  });
  return { hub, cacheDir, options: (more) => ({ hubUrl: hub.url, cacheDir: cacheDir(), device: 'cpu', ...more }) };
}

/** What the network says of one input. */
export async function prediction(ddpm: Ddpm): Promise<number[]> {
  const { height, width, channels } = ddpm.config.image;
  const x = new Float32Array(height * width * channels).map((_, i) => Math.sin(i));
  try {
    return [...(await ddpm.predictNoise(x, 3)).data];
  } finally {
    await ddpm.dispose();
  }
}

/** That of the model in its folder. */
export async function expectedPrediction(): Promise<number[]> {
  return prediction(await Ddpm.load(modelFolder, { device: 'cpu' }));
}

/** The folder of the repository in a cache. */
export function repositoryFolder(cacheDir: string): string {
  const [hub] = readdirSync(cacheDir);
  return join(cacheDir, hub, 'models--someone--ddpm-tiny');
}

/** Bytes of each file that is coming in. */
export function partialSizes(cacheDir: string): number[] {
  if (readdirSync(cacheDir).length === 0) return [];
  const partials = join(repositoryFolder(cacheDir), 'partials');
  if (!existsSync(partials)) return [];
  return readdirSync(partials).map((name) => statSync(join(partials, name), { throwIfNoEntry: false })?.size ?? 0);
}

/** Waits until a file that is coming in has as many bytes: what is on its way when a connection is cut is lost. */
export async function arrived(cacheDir: string, bytes: number): Promise<void> {
  while (!partialSizes(cacheDir).includes(bytes)) await new Promise((resolve) => setImmediate(resolve));
}
