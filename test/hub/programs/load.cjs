// Loads a model from a hub, in a process of its own, from the package's build. argv: the hub, the cache, the repository.
const { Ddpm } = require('../../../dist');

const [hubUrl, cacheDir, repository] = process.argv.slice(2);

Ddpm.fromHub(repository, { hubUrl, cacheDir, device: 'cpu' }).then(async (ddpm) => {
  const { height, width, channels } = ddpm.config.image;
  const { data } = await ddpm.predictNoise(new Float32Array(height * width * channels).fill(0.5), 3);
  console.log(JSON.stringify([...data.slice(0, 8)]));
});
