// What each install must be able to do: train 3 steps, draw one image, save, load. Prints what it took, as JSON.
const { existsSync, mkdtempSync, readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const begin = performance.now();
const { Ddpm, fromPixels, presets } = require('ddpm-node');
const loaded = performance.now();

async function main() {
  const pixels = Uint8Array.from({ length: 8 * 32 * 32 * 3 }, (_, i) => (i * 7919) % 256);
  const dataset = await fromPixels(pixels, { count: 8, height: 32, width: 32, channels: 3 });
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-use-'));
  try {
    const ddpm = new Ddpm({ ...presets.tiny, seed: 1 });
    const { step, loss } = await ddpm.train(dataset, { steps: 3, batchSize: 4 });
    const images = await ddpm.sample(1, { sampler: 'ddim', steps: 4, seed: 2 });
    const drawn = performance.now();
    await ddpm.save(join(folder, 'model'));
    const again = await Ddpm.load(join(folder, 'model'));
    const same = await again.sample(1, { sampler: 'ddim', steps: 4, seed: 2 });
    const equal = Buffer.compare(Buffer.from(images.data), Buffer.from(same.data)) === 0;
    const result = { step, loss, equal, device: ddpm.device, loadMs: loaded - begin, drawnMs: drawn - begin };
    await ddpm.dispose();
    await again.dispose();
    if (existsSync('/proc/self/maps')) {
      const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
      const files = new Set(maps.map((line) => line.slice(73)).filter((file) => /\.(so|node)/.test(file)));
      result.libraries = [...files].filter((file) => /gomp|omp5|libomp|torch|c10|ddpm/.test(file));
    }
    console.log(JSON.stringify(result));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main();
