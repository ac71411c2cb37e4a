// How long a timer of 10 ms is kept waiting while a model of 35.7M parameters is at work. Prints the longest time from
// one tick to the next, in milliseconds, for each kind of work. argv: the folder of such a model.
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { Ddpm, configs, images } = require('./common.cjs');

const [folder] = process.argv.slice(2);
const pictures = mkdtempSync(join(tmpdir(), 'ddpm-pictures-'));
process.on('exit', () => rmSync(pictures, { recursive: true }));

const gaps = {};
let work;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  gaps[work] = Math.max(gaps[work] ?? 0, now - last);
  last = now;
}, 10).unref();

async function during(name, act) {
  work = name;
  const result = await act();
  // One more tick, which a wait at the very end would delay.
  await sleep(20);
  work = 'nothing';
  return result;
}

async function main() {
  const dataset = await images(configs.large);
  await sleep(50);
  const ddpm = await during('load', () => Ddpm.load(folder));
  await during('train', () => ddpm.train(dataset, { steps: 3, batchSize: 4 }));
  const samples = await during('sample', () => ddpm.sample(8, { sampler: 'ddim', steps: 3 }));
  await during('png', async () => {
    await samples.save(join(pictures, '{index}.png'));
    await samples.grid().png();
  });
  await during('save', () => ddpm.save(pictures));
  await during('checkpoint', () => {
    const checkpoint = { directory: join(pictures, 'checkpoints'), every: 1, keep: 1 };
    return ddpm.train(dataset, { steps: 5, batchSize: 1, checkpoint });
  });
  await during('resume', async () => (await Ddpm.resume(join(pictures, 'checkpoints'))).dispose());
  await during('parameters', () => ddpm.parameters());
  await during('dispose', () => ddpm.dispose());
  delete gaps.nothing;
  delete gaps.undefined;
  console.log(JSON.stringify(gaps));
}

main();
