/** Which GPUs the device code in a binary is for. */

const containerMagic = 0xba55ed50;
const kinds = new Map([
  [1, 'compute'],
  [2, 'sm'],
]);

/**
 * Reads what nvcc puts into the section `.nv_fatbin`: containers of entries, each with its kind (PTX or machine code) and
 * the architecture that it is for.
 *
 * @param {Buffer} bytes of that section
 * @returns {string[]} sorted, each once: `sm_80` for machine code, `compute_90` for PTX
 */
export function deviceArchitectures(bytes) {
  const found = new Set();
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(containerMagic);
  for (let container = bytes.indexOf(magic); container >= 0; ) {
    let entry = container + bytes.readUInt16LE(container + 6);
    const end = entry + Number(bytes.readBigUInt64LE(container + 8));
    while (entry < end) {
      const kind = kinds.get(bytes.readUInt16LE(entry));
      if (kind !== undefined) found.add(`${kind}_${bytes.readUInt32LE(entry + 28)}`);
      entry += bytes.readUInt32LE(entry + 4) + Number(bytes.readBigUInt64LE(entry + 8));
    }
    container = bytes.indexOf(magic, end);
  }
  return [...found].sort();
}
