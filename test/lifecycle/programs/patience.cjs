// Loads the package first in a worker, or in the main thread, and says what the environment is then, for this process and
// for its children. OMP_DISPLAY_ENV has OpenMP print what it was loaded with. argv: where.
const { execFileSync } = require('node:child_process');
const { Worker, isMainThread } = require('node:worker_threads');

const names = ['GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'];

function tell() {
  const script = `process.stdout.write(JSON.stringify(${JSON.stringify(names)}.map((name) => process.env[name] ?? null)))`;
  const ofChildren = JSON.parse(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }));
  console.log(JSON.stringify({ own: names.map((name) => process.env[name] ?? null), ofChildren }));
}

if (process.argv[2] === 'main') {
  require('./common.cjs');
  tell();
} else if (isMainThread) {
  new Worker(__filename, { argv: process.argv.slice(2) }).on('exit', tell);
} else {
  require('./common.cjs');
}
