// Run as a process of its own, since DDPM_PLAIN is read once: drives the network `ho-rgb-32` through the reference's DDIM
// chains (Song, Meng, Ermon 2021, Equation 12, eta = 0) in the reference's own float32 arithmetic, and prints how far
// from the recorded images it ends. argv: the package's build, the fixtures.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const [, , dist, fixtures] = process.argv;
const { Ddpm } = require(dist);

const f = Math.fround;

function tensors(path) {
  const bytes = readFileSync(path);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, end).toString());
  return (name) => {
    const { dtype, data_offsets } = header[name];
    const raw = bytes.buffer.slice(bytes.byteOffset + end + data_offsets[0], bytes.byteOffset + end + data_offsets[1]);
    return dtype === 'I64' ? Array.from(new BigInt64Array(raw), Number) : new Float32Array(raw);
  };
}

function difference(a, b) {
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return worst / largest;
}

async function main() {
  const ddpm = await Ddpm.load(join(fixtures, 'unet', 'ho-rgb-32'), { device: process.env.DDPM_TEST_DEVICE || 'cpu' });
  const io = tensors(join(fixtures, 'unet', 'ho-rgb-32', 'io.safetensors'));
  const network = difference((await ddpm.predictNoise(io('sample'), io('timesteps'))).data, io('output'));

  const images = tensors(join(fixtures, 'deterministic_samplers.safetensors'));
  const schedule = tensors(join(fixtures, 'ddim_float32_schedule.safetensors'));
  const signal = schedule('sqrt_alphas_cumprod');
  const noise = schedule('sqrt_one_minus_alphas_cumprod');
  const chains = {};
  for (const spacing of ['leading', 'trailing', 'linspace']) {
    for (const steps of [10, 50]) {
      let x = images('x_T');
      for (const t of images(`ddim.${spacing}.${steps}.timesteps`)) {
        const eps = (await ddpm.predictNoise(x, t)).data;
        // The reference goes from t to t − T / steps, which is the next timestep visited but for linspace.
        const previous = t - 1000 / steps;
        const [signalPrev, noisePrev] = previous >= 0 ? [signal[previous], noise[previous]] : [1, 0];
        x = x.map((value, i) => {
          const x0 = Math.max(-1, Math.min(1, f(f(value - f(noise[t] * eps[i])) / signal[t])));
          return f(f(signalPrev * x0) + f(noisePrev * eps[i]));
        });
      }
      chains[`${spacing}.${steps}`] = difference(x, images(`ddim.${spacing}.${steps}`));
    }
  }
  console.log(JSON.stringify({ network, chains }));
  await ddpm.dispose();
}

main();
