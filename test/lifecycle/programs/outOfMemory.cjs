// What becomes of work that memory does not suffice for. To be run under a limit of the address space. Prints the
// outcome of each piece of work.
const { Ddpm, configs, images, presets } = require('./common.cjs');

const quick = { sampler: 'ddim', steps: 2 };

async function main() {
  const ddpm = new Ddpm(configs.large);
  const dataset = await images(configs.large);
  const outcomes = {};
  const record = async (name, work) => {
    outcomes[name] = await work().then(
      () => 'ok',
      (error) => error.code ?? String(error),
    );
  };
  const usable = (name) => record(name, () => ddpm.sample(1, quick));

  await record('train', () => ddpm.train(dataset, { steps: 1, batchSize: 1 }));
  await record('a batch too large to sample', () => ddpm.sample(5000, { ...quick, batchSize: 5000 }));
  await usable('sample after it');
  await record('a result too large', () => ddpm.sample(300_000, { ...quick, batchSize: 1, output: 'float32' }));
  await usable('sample after that');
  await record('a batch too large to train on', () => ddpm.train(dataset, { steps: 2, batchSize: 5000 }));
  await record('train after it', () => ddpm.train(dataset, { steps: 2, batchSize: 1 }));
  await record('too many images to predict', () => ddpm.predictNoise(new Float32Array(5000 * 3072), 1));
  await usable('sample after all');
  await record('a model too large', () => new Ddpm(presets.lsunBedroomLarge256).sample(1, quick));
  await Promise.all([
    record('a call beside one too large', () => ddpm.sample(2, { sampler: 'ddim', steps: 5 })),
    record('one too large beside others', () => ddpm.sample(5000, { ...quick, batchSize: 5000 })),
    record('another call beside it', () => ddpm.sample(1, { sampler: 'ddim', steps: 5 })),
  ]);
  console.log(JSON.stringify(outcomes));
}

main();
