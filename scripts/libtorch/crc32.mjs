import zlib from 'node:zlib';

/** Of each byte, eight steps of the polynomial's division. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0xedb88320 : 0);
  return remainder;
});

/**
 * The CRC-32 of zip files, for Node before 20.15, which has none.
 *
 * @param {Uint8Array} bytes
 * @param {number} [before] CRC-32 of what goes before
 * @returns {number}
 */
export function tableCrc32(bytes, before = 0) {
  let crc = ~before;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

/** The CRC-32 of zip files, by zlib where Node gives it. @type {typeof tableCrc32} */
export const crc32 = zlib.crc32 ?? tableCrc32;
