/** Writing a zip file of files that are too large to hold, without compression. */

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { crc32 } from '../libtorch/crc32.mjs';

/**
 * @param {string} archive
 * @param {{ name: string, file: string }[]} entries the archive stays below 4 GiB
 */
export async function writeZip(archive, entries) {
  const out = await open(archive, 'w');
  const central = [];
  let offset = 0;
  try {
    for (const { name, file } of entries) {
      const nameBytes = Buffer.from(name);
      let [size, crc] = [0, 0];
      const headerSize = 30 + nameBytes.length;
      for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
        await out.write(chunk, 0, chunk.length, offset + headerSize + size);
        size += chunk.length;
        crc = crc32(chunk, crc);
      }
      const common = Buffer.alloc(26);
      common.writeUInt16LE(20, 0);
      common.writeUInt16LE(0x800, 2);
      common.writeUInt32LE(crc, 10);
      common.writeUInt32LE(size, 14);
      common.writeUInt32LE(size, 18);
      common.writeUInt16LE(nameBytes.length, 22);
      await out.write(Buffer.concat([Buffer.from('PK\x03\x04'), common, nameBytes]), 0, headerSize, offset);
      const tail = Buffer.alloc(14);
      tail.writeUInt32LE((0o100755 << 16) >>> 0, 6);
      tail.writeUInt32LE(offset, 10);
      central.push(Buffer.from('PK\x01\x02\x14\x03'), common, tail, nameBytes);
      offset += headerSize + size;
    }
    const directory = Buffer.concat(central);
    const end = Buffer.alloc(18);
    end.writeUInt16LE(entries.length, 4);
    end.writeUInt16LE(entries.length, 6);
    end.writeUInt32LE(directory.length, 8);
    end.writeUInt32LE(offset, 12);
    await out.write(Buffer.concat([directory, Buffer.from('PK\x05\x06'), end]), 0, null, offset);
  } finally {
    await out.close();
  }
}
