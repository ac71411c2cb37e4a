// Other native packages in one process with this one, in the order that the arguments give. Prints, as JSON, the OpenMP
// runtimes in the process, the threads that training runs on, and how long its steps take.
const { readFileSync, readdirSync } = require('node:fs');

const loaded = {};
for (const name of process.argv.slice(2)) {
  loaded[name] = require(name);
  // LibTorch and these choose their threads when they first compute, so each is used before the next is loaded.
  if (name === 'sharp') loaded.png = sharpWorks(loaded.sharp);
}

function sharpWorks(sharp) {
  return sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
}

async function main() {
  await loaded.png;
  const { Ddpm, fromPixels, presets } = loaded['ddpm-node'];
  const pixels = Uint8Array.from({ length: 32 * 32 * 32 * 3 }, (_, i) => (i * 7919) % 256);
  const dataset = await fromPixels(pixels, { count: 32, height: 32, width: 32, channels: 3 });
  const ddpm = new Ddpm({ ...presets.tiny, seed: 1 });
  await ddpm.train(dataset, { steps: 3, batchSize: 32 });
  let most = 0;
  const times = [];
  for (let step = 4; step <= 15; step++) {
    const begin = performance.now();
    await ddpm.train(dataset, { steps: step, batchSize: 32 });
    times.push(performance.now() - begin);
    most = Math.max(most, threads());
  }
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const files = [...new Set(maps.map((line) => line.slice(73)).filter((file) => file.startsWith('/')))];
  const openmp = files.filter((file) => /\/lib(gomp|iomp5|omp)[-.]/.test(file));
  console.log(JSON.stringify({ openmp, threads: most, stepMs: Math.min(...times) }));
  await ddpm.dispose();
}

/** Threads of this process. */
function threads() {
  return readdirSync('/proc/self/task').length;
}

main();
