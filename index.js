// What `require` and `import` get: the built package or, in a checkout where nothing was built, the command that does it.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

if (!existsSync(join(__dirname, 'dist', 'index.js'))) {
  const message =
    'ddpm-node is not built in this checkout, as after an install with --ignore-scripts. Run `npm install`: ' +
    'it sets LibTorch up, builds the native addon and compiles the TypeScript.';
  throw Object.assign(new Error(message), { name: 'DdpmError', code: 'ERR_NATIVE_UNAVAILABLE' });
}

module.exports = require('./dist/index.js');
