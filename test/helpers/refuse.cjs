/**
 * Loaded before a program: fsync of folders, or of everything, fails with the system's error that REFUSE_FLUSH names, as on
 * file systems that know no such call.
 */
const fs = require('node:fs');
const { fstat } = fs;
const { open } = fs.promises;

const [what, code] = (process.env.REFUSE_FLUSH ?? '').split(' ');
const refusal = () => Object.assign(new Error(`${code}: refused, fsync`), { code, errno: -1, syscall: 'fsync' });

fs.promises.open = async (...parameters) => {
  const handle = await open(...parameters);
  const { sync } = handle;
  handle.sync = async () => {
    if (what === 'all' || (await handle.stat()).isDirectory()) throw refusal();
    return sync.call(handle);
  };
  return handle;
};
fs.fsync = (descriptor, done) => {
  fstat(descriptor, (_, stats) => (what === 'all' || stats.isDirectory() ? done(refusal()) : done(null)));
};
