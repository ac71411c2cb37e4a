// What networks say, and their gradients: one line of JSON a network. argv: a file with the list of { folder, batch,
// offset, seed }, the precision where an entry has none of its own. DDPM_PLAIN says by which path.
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

/** The values of tensors, one after another. */
const text = (tensors) =>
  Buffer.concat(tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))).toString(
    'base64',
  );

async function main() {
  const [list, usual] = process.argv.slice(2);
  const device = process.env.DDPM_TEST_DEVICE || 'cpu';
  for (const { folder, batch, offset, seed, precision = usual } of JSON.parse(readFileSync(list, 'utf8'))) {
    const ddpm = await Ddpm.load(folder, { device, precision });
    const { height, width, channels } = ddpm.config.image;
    const count = batch * channels * height * width;
    // Of few values, rounding errors say little: then more of them.
    const draws = batch * height * width < 512 ? 4 : 1;
    const outputs = [];
    const gradients = new Map();
    const losses = [];
    for (let draw = 0; draw < draws; draw++) {
      const random = 10 * seed + draw;
      // Some timesteps more than once.
      const t = Array.from({ length: batch }, (_, k) => (7 * (k >> 1) + random) % 50);
      const classLabels = ddpm.config.unet.classes ? t.map((step) => step % 3) : undefined;
      const x = numbers(count, 2 * random).map((value) => value + offset);
      outputs.push(await ddpm.predictNoise(x, t, { classLabels }));
      const gradientAccumulation = batch % 2 === 0 && seed % 3 === 0 ? 2 : 1;
      const noise = numbers(count, 2 * random + 1);
      const { loss } = await ddpm.trainStep({ x0: x, t, noise, classLabels, gradientAccumulation });
      losses.push(loss);
      for (const [name, gradient] of await ddpm.parameters({ weights: 'gradient' })) {
        gradients.set(name, [...(gradients.get(name) ?? []), gradient]);
      }
    }
    const entries = [...gradients].map(([name, all]) => [name, text(all)]);
    const result = { output: text(outputs), gradients: Object.fromEntries(entries), losses };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    await ddpm.dispose();
  }
}

main();
