// What networks say, and their gradients: one line of JSON a network. argv: a file with the list of { folder, batch },
// the precision. DDPM_PLAIN says by which path.
const { readFileSync } = require('node:fs');
const { Ddpm } = require('../../../dist');

/** Numbers that look random, of a seed. */
function numbers(count, seed) {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * 1.5;
  });
}

const text = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');

async function main() {
  const [list, precision] = process.argv.slice(2);
  for (const [i, { folder, batch }] of JSON.parse(readFileSync(list, 'utf8')).entries()) {
    const ddpm = await Ddpm.load(folder, { device: 'cpu', precision });
    const { height, width, channels } = ddpm.config.image;
    const count = batch * channels * height * width;
    // Some timesteps more than once.
    const t = Array.from({ length: batch }, (_, k) => (7 * (k >> 1) + i) % 50);
    const classLabels = ddpm.config.unet.classes ? t.map((step) => step % 3) : undefined;
    const x = numbers(count, i + 1);
    const output = await ddpm.predictNoise(x, t, { classLabels });
    const gradientAccumulation = batch % 2 === 0 && i % 3 === 0 ? 2 : 1;
    const noise = numbers(count, i + 999);
    const { loss } = await ddpm.trainStep({ x0: x, t, noise, classLabels, gradientAccumulation });
    const gradient = await ddpm.parameters({ weights: 'gradient' });
    const flat = Float32Array.from([...gradient.values()].flatMap(({ data }) => [...data]));
    process.stdout.write(`${JSON.stringify({ output: text(output.data), gradient: text(flat), loss })}\n`);
    await ddpm.dispose();
  }
}

main();
