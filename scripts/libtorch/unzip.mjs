/** Unpacking zip files (a wheel is one), safely. */

import { createWriteStream } from 'node:fs';
import { mkdir, realpath, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import yauzl from 'yauzl';

const typeMask = 0o170000;
const symlinkType = 0o120000;

/**
 * Unpacks the wanted entries of a zip file, with their executable bits and symbolic links. Sizes and checksums are
 * checked, and nothing is ever written outside `destination`.
 *
 * @param {string} archive
 * @param {string} destination
 * @param {(name: string) => string | undefined} place where an entry goes, relative to `destination`; undefined to
 *   leave it out
 * @returns {Promise<number>} how many files were written
 */
export async function unzip(archive, destination, place) {
  const zip = await yauzl.openPromise(archive);
  let files = 0;
  /** @type {{ file: string, target: string }[]} */
  const links = [];
  const made = new Set();
  try {
    for await (const entry of zip.eachEntry()) {
      const placed = entry.fileName.endsWith('/') ? undefined : place(entry.fileName);
      if (placed === undefined) continue;
      const file = resolve(destination, placed);
      if (!isInside(file, destination)) throw new Error(`${archive}: ${entry.fileName} leads out of the folder`);
      const folder = dirname(file);
      if (!made.has(folder)) {
        await mkdir(folder, { recursive: true });
        made.add(folder);
      }
      const mode = entry.externalFileAttributes >>> 16;
      const content = checked(await zip.openReadStreamPromise(entry), entry, archive);
      if ((mode & typeMask) === symlinkType) {
        links.push({ file, target: (await buffer(content)).toString() });
      } else {
        // 'wx': an entry that comes twice is an error, not a surprise.
        await pipeline(content, createWriteStream(file, { flags: 'wx', mode: mode & 0o111 ? 0o755 : 0o644 }));
        files++;
      }
    }
  } finally {
    zip.close();
  }
  // Links come last, so that no file is ever written through one, and are judged by where they really lead.
  for (const { file, target } of links) {
    await symlink(target, file);
    const real = await realpath(file).catch(() => undefined);
    if (real === undefined || !isInside(real, await realpath(destination))) {
      await rm(file);
      throw new Error(
        `${archive}: the link ${relative(destination, file)} -> ${target} leads out of the folder or nowhere`,
      );
    }
  }
  return files + links.length;
}

/**
 * @param {string} file
 * @param {string} folder
 */
function isInside(file, folder) {
  return file.startsWith(join(folder, sep));
}

/**
 * Passes an entry's bytes on and fails at the end if their CRC-32 is not the recorded one.
 *
 * @param {import('node:stream').Readable} content
 * @param {import('yauzl').Entry} entry
 * @param {string} archive
 */
function checked(content, entry, archive) {
  let crc = 0;
  const check = new Transform({
    transform(chunk, _encoding, done) {
      crc = crc32(chunk, crc);
      done(null, chunk);
    },
    flush(done) {
      done(crc === entry.crc32 ? null : new Error(`${archive}: ${entry.fileName} is damaged (its checksum is wrong)`));
    },
  });
  content.on('error', (error) => check.destroy(error));
  return content.pipe(check);
}
