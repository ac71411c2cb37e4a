// Loads a model from a hub, in a process of its own, from the package's build, with the environment alone. argv: the
// repository, the cache. Prints as JSON what the network says, or the error's code and message.
const { Ddpm } = require('../../../dist');

const [repository, cacheDir, revision] = process.argv.slice(2);

Ddpm.fromHub(repository, { cacheDir, revision, device: 'cpu' })
  .then(async (ddpm) => {
    const { height, width, channels } = ddpm.config.image;
    const { data } = await ddpm.predictNoise(new Float32Array(height * width * channels).fill(0.5), 3);
    console.log(JSON.stringify({ values: [...data.slice(0, 8)] }));
  })
  .catch(({ code, message }) => console.log(JSON.stringify({ code, message })));
