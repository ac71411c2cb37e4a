// Trains the model of a folder for a step, saves it over itself, and prints the error: { code, message }.
const { Ddpm, fromPixels } = require('../../../dist');

async function main(folder) {
  const ddpm = await Ddpm.load(folder);
  const { height, width, channels } = ddpm.config.image;
  const images = await fromPixels(new Uint8Array(height * width * channels), { count: 1, height, width, channels });
  await ddpm.train(images, { steps: 1, batchSize: 1 });
  const error = await ddpm.save(folder).then(
    () => ({ message: 'it was saved' }),
    (thrown) => thrown,
  );
  await ddpm.dispose();
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}

main(process.argv[2]);
