/** Writing a zip file of files that are too large to hold, without compression. */

import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import yazl from 'yazl';

/**
 * @param {string} archive
 * @param {{ name: string, file: string }[]} entries
 */
export async function writeZip(archive, entries) {
  const zip = new yazl.ZipFile();
  for (const { name, file } of entries) zip.addFile(file, name, { compress: false, mode: 0o100755 });
  zip.end();
  await pipeline(zip.outputStream, createWriteStream(archive));
}
