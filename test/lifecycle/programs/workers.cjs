// How worker threads end while models are at work in them. argv: the work, the ending, how many workers at once, and
// whether the main thread uses the package meanwhile ('busy') or never ('idle').
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const endless = 1e9;

// Each worker has a folder of its own to save in.
let workers = 0;
let folders;

// What a worker does in the middle of its work, and the exit code that it must have then.
const endings = {
  exit: { code: 7, end: () => process.exit(7) },
  throw: {
    code: 1,
    end: () => {
      throw new Error('thrown on purpose');
    },
  },
  terminate: { code: 1, end: () => parentPort.postMessage('terminate') },
  natural: { code: 0, end: () => {} },
  // The main thread exits.
  never: { code: undefined, end: () => parentPort.postMessage('working') },
};

async function work(kind, ending, folder) {
  const { Ddpm, configs, images, once } = require('./common.cjs');
  const onProgress = once(endings[ending].end);
  const long = ending !== 'natural';
  const ddpm = new Ddpm(configs.tiny);
  if (kind === 'train' || kind === 'checkpoint') {
    const dataset = await images(configs.tiny);
    const checkpoint = kind === 'checkpoint' ? { directory: folder, every: 1, keep: 1 } : undefined;
    await ddpm.train(dataset, { steps: long ? endless : 3, batchSize: 2, checkpoint, onProgress });
  } else {
    await ddpm.sample(2, { steps: long ? 1000 : 3, onProgress });
  }
  parentPort.postMessage('finished');
}

function runWorker(kind, ending) {
  return new Promise((resolve, reject) => {
    const folder = join(folders, String(workers++));
    const worker = new Worker(__filename, { workerData: { kind, ending, folder } });
    let finished = false;
    worker.on('message', (message) => {
      if (message === 'terminate') worker.terminate();
      if (message === 'working') process.exit(7);
      if (message === 'finished') finished = true;
    });
    worker.on('error', (error) => {
      if (error.message !== 'thrown on purpose') reject(error);
    });
    worker.on('exit', (code) => {
      if (code === endings[ending].code && finished === (ending === 'natural')) resolve();
      else reject(new Error(`a worker ended with code ${code}`));
    });
  });
}

async function main() {
  folders = mkdtempSync(join(tmpdir(), 'ddpm-workers-'));
  process.on('exit', () => rmSync(folders, { recursive: true, force: true }));
  const [kind, ending, count, use] = process.argv.slice(2);
  const allAtOnce = () => Promise.all(Array.from({ length: Number(count) }, () => runWorker(kind, ending)));
  let sample = async () => '';
  if (use === 'busy') {
    const { Ddpm, configs } = require('./common.cjs');
    const ddpm = new Ddpm(configs.tiny);
    sample = async () => (await ddpm.sample(1, { steps: 40, seed: 1 })).data.join();
  }
  const alone = await sample();
  // Twice: nothing that the first workers leave behind harms those that come after.
  for (let round = 0; round < 2; round++) {
    const [beside] = await Promise.all([sample(), allAtOnce()]);
    if (beside !== alone) throw new Error('the workers changed the pictures of the main thread');
  }
  console.log('finished');
}

if (isMainThread) main();
else work(workerData.kind, workerData.ending, workerData.folder);
