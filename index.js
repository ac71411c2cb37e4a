// What `require` and `import` get: the built package, or what to do where there is none.

/** Whether a bundler has put this file into an application's own: it then has no folder, or that of another package. */
function isBundled() {
  try {
    const { readFileSync } = require('node:fs');
    const { join } = require('node:path');
    return JSON.parse(readFileSync(join(__dirname, 'package.json'), 'utf8')).name !== 'ddpm-node';
  } catch {
    return true;
  }
}

function isBuilt() {
  const { existsSync } = require('node:fs');
  const { join } = require('node:path');
  return existsSync(join(__dirname, 'dist', 'index.js'));
}

function unavailable(message) {
  return Object.assign(new Error(message), { name: 'DdpmError', code: 'ERR_NATIVE_UNAVAILABLE' });
}

if (isBundled()) {
  throw unavailable(
    'ddpm-node is part of a bundle, and its native addon cannot be. Keep it out, and install it beside the bundle: ' +
      "for esbuild --external:ddpm-node, for webpack externals: { 'ddpm-node': 'commonjs ddpm-node' }, " +
      "for Next.js serverExternalPackages: ['ddpm-node'].",
  );
}
if (!isBuilt()) {
  throw unavailable(
    'ddpm-node is not built in this checkout, as after an install with --ignore-scripts. Run `npm install`: ' +
      'it sets LibTorch up, builds the native addon and compiles the TypeScript.',
  );
}

module.exports = require('./dist/index.js');
