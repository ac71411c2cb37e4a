// What a power cut leaves of a folder. A killed process loses nothing that it has handed to the system, flushed or not; so
// this watches what the process writes below a folder, and `cut()` takes away what has not been flushed: contents of files
// without an fsync since they were written, and names in folders without one since they were made or changed. Must be made
// before what it watches is loaded.
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';

const require = createRequire(import.meta.url);
/** The modules as `require` gives them: what replaces their functions is seen by everybody who calls them by their module. */
const fs = /** @type {typeof import('node:fs')} */ (require('node:fs'));
const promises = /** @type {typeof import('node:fs/promises')} */ (require('node:fs/promises'));

/**
 * @typedef {object} Name A name that was given in a folder that has not been flushed since.
 * @property {string} path
 * @property {string | undefined} from What it was called before; undefined for a new file or folder.
 */

/**
 * @param {string} root
 * @param {object} [hooks]
 * @param {(call: string, path: string) => void} [hooks.onCall] Called before each call that changes something, and before a
 *   file is opened to be read ('read').
 * @param {(path: string) => boolean} [hooks.skipsFlush] Whether to leave out the fsync of a file without a word. It is asked of
 *   the name that the file gets in the end: it is flushed under another.
 */
export async function watchWrites(root, { onCall = () => {}, skipsFlush = () => false } = {}) {
  /** Bytes that are safe of each file that has more. @type {Map<string, number>} */
  const unflushed = new Map();
  /** And of each that was flushed, before it was. @type {Map<string, number>} */
  const before = new Map();
  /** @type {Name[]} */
  const names = [];
  /** @type {Map<number, string>} */
  const paths = new Map();
  const isBelow = (/** @type {string} */ path) => path === root || path.startsWith(root + sep);

  const { open, mkdir, rename, rm } = promises;
  const { fsync } = fs;
  const probe = await open(root);
  const handles = Object.getPrototypeOf(probe);
  await probe.close();

  /** @param {string} path */
  const flushed = (path) => {
    const size = unflushed.get(path);
    if (size !== undefined) before.set(path, size);
    unflushed.delete(path);
    for (let i = names.length - 1; i >= 0; i--) if (dirname(names[i].path) === path) names.splice(i, 1);
  };
  /** @param {string} path @param {string} [from] */
  const named = (path, from) => names.push({ path, from });

  promises.open = /** @type {typeof open} */ (
    async (path, flags, ...rest) => {
      const place = String(path);
      const isNew = isBelow(place) && flags !== undefined && flags !== 'r' && !existsSync(place);
      if (isBelow(place)) onCall(isNew ? 'open' : 'read', place);
      const file = await open(path, flags, ...rest);
      if (isBelow(place)) paths.set(file.fd, place);
      if (isNew) named(place);
      return file;
    }
  );
  promises.mkdir = /** @type {typeof mkdir} */ (
    async (path, ...rest) => {
      const place = String(path);
      if (!isBelow(place)) return mkdir(path, ...rest);
      onCall('mkdir', place);
      const made = await mkdir(path, ...rest);
      named(place);
      return made;
    }
  );
  promises.rename = async (from, to) => {
    const [old, after] = [String(from), String(to)];
    if (!isBelow(after)) return rename(from, to);
    onCall('rename', old);
    await rename(from, to);
    const moved = (/** @type {string} */ path) =>
      path === old || path.startsWith(old + sep) ? after + path.slice(old.length) : path;
    for (const [path, size] of [...unflushed]) {
      unflushed.delete(path);
      unflushed.set(moved(path), size);
    }
    const size = before.get(old);
    if (size !== undefined && skipsFlush(after)) unflushed.set(after, size);
    before.delete(old);
    for (const [fd, path] of paths) paths.set(fd, moved(path));
    const isNew = names.some(({ path, from: earlier }) => path === old && earlier === undefined);
    for (const name of names) name.path = moved(name.path);
    // A new thing under its second name is still new.
    if (!isNew) named(after, old);
  };
  promises.rm = async (path, options) => {
    const place = String(path);
    if (isBelow(place)) {
      onCall('rm', place);
      const gone = (/** @type {string} */ other) => other === place || other.startsWith(place + sep);
      for (const other of [...unflushed.keys()].filter(gone)) unflushed.delete(other);
      for (let i = names.length - 1; i >= 0; i--) if (gone(names[i].path)) names.splice(i, 1);
    }
    return rm(path, options);
  };

  for (const method of ['write', 'writev', 'writeFile', 'appendFile']) {
    const real = handles[method];
    handles[method] = async function (/** @type {unknown[]} */ ...given) {
      const path = paths.get(this.fd);
      if (path !== undefined) {
        onCall(method, path);
        if (!unflushed.has(path)) unflushed.set(path, fstatSync(this.fd).size);
      }
      return real.apply(this, given);
    };
  }
  for (const method of ['sync', 'datasync']) {
    const real = handles[method];
    handles[method] = async function () {
      const path = paths.get(this.fd);
      if (path !== undefined) onCall('fsync', path);
      await real.call(this);
      if (path !== undefined) flushed(path);
    };
  }
  fs.fsync = /** @type {typeof fsync} */ (
    (fd, callback) => {
      const path = paths.get(fd);
      if (path !== undefined) onCall('fsync', path);
      fsync(fd, (error) => {
        if (!error && path !== undefined) flushed(path);
        callback(error);
      });
    }
  );
  const { close } = handles;
  handles.close = function () {
    paths.delete(this.fd);
    return close.call(this);
  };

  return {
    /** Takes away what has not been flushed, at once. */
    cut() {
      for (const [path, size] of unflushed) {
        if (!existsSync(path)) continue;
        const fd = openSync(path, 'r+');
        ftruncateSync(fd, size);
        closeSync(fd);
      }
      for (const { path, from } of names.reverse()) {
        if (!existsSync(path)) continue;
        if (from === undefined) rmSync(path, { recursive: true, force: true });
        else if (!existsSync(from)) renameSync(path, from);
      }
    },
  };
}
