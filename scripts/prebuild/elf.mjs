/** Reading what a Linux binary asks of the system that loads it: no binutils needed, and it reads any architecture's. */

/** @typedef {{ name: string, type: number, link: number, offset: number, size: number }} Section */

const dynamicType = 6;
const versionNeedsType = 0x6ffffffe;

/** Tag of the dynamic section: a library that must be there. */
const needed = 1;

export class Elf {
  /** @param {Buffer} bytes a whole file */
  constructor(bytes) {
    if (bytes.subarray(0, 4).toString('latin1') !== '\x7fELF' || bytes[4] !== 2 || bytes[5] !== 1) {
      throw new Error('expected a 64-bit little-endian ELF file');
    }
    this.bytes = bytes;
    this.sections = this.#readSections();
  }

  /**
   * The libraries that it is linked with, in the linker's order.
   *
   * @returns {string[]} `libtorch.so`
   */
  libraries() {
    const section = this.sections.find(({ type }) => type === dynamicType);
    if (section === undefined) return [];
    const names = [];
    for (let at = section.offset; at < section.offset + section.size; at += 16) {
      if (this.#number64(at) === needed) names.push(this.#text(section.link, this.#number64(at + 8)));
    }
    return names;
  }

  /**
   * The versions of symbols that it needs, by library.
   *
   * @returns {{ library: string, version: string }[]} `{ library: 'libc.so.6', version: 'GLIBC_2.34' }`
   */
  versionNeeds() {
    const section = this.sections.find(({ type }) => type === versionNeedsType);
    if (section === undefined) return [];
    const { bytes } = this;
    const found = [];
    for (let file = section.offset; ; ) {
      const library = this.#text(section.link, bytes.readUInt32LE(file + 4));
      let entry = file + bytes.readUInt32LE(file + 8);
      for (let left = bytes.readUInt16LE(file + 2); left > 0; left--) {
        found.push({ library, version: this.#text(section.link, bytes.readUInt32LE(entry + 8)) });
        entry += bytes.readUInt32LE(entry + 12);
      }
      const next = bytes.readUInt32LE(file + 12);
      if (next === 0) return found;
      file += next;
    }
  }

  /**
   * A section's bytes; empty where there is none of this name.
   *
   * @param {string} name
   */
  section(name) {
    const found = this.sections.find((section) => section.name === name);
    return found ? this.bytes.subarray(found.offset, found.offset + found.size) : Buffer.alloc(0);
  }

  /** @returns {Section[]} */
  #readSections() {
    const { bytes } = this;
    const [start, size, count] = [this.#number64(0x28), bytes.readUInt16LE(0x3a), bytes.readUInt16LE(0x3c)];
    const headers = Array.from({ length: count }, (_, i) => {
      const at = start + i * size;
      return {
        nameAt: bytes.readUInt32LE(at),
        type: bytes.readUInt32LE(at + 4),
        offset: this.#number64(at + 0x18),
        size: this.#number64(at + 0x20),
        link: bytes.readUInt32LE(at + 0x28),
      };
    });
    const names = headers[bytes.readUInt16LE(0x3e)];
    return headers.map(({ nameAt, ...header }) => ({ ...header, name: this.#textAt(names.offset + nameAt) }));
  }

  /** @param {number} link the section of strings @param {number} offset */
  #text(link, offset) {
    return this.#textAt(this.sections[link].offset + offset);
  }

  /** @param {number} at */
  #textAt(at) {
    return this.bytes.toString('utf8', at, this.bytes.indexOf(0, at));
  }

  /** @param {number} at */
  #number64(at) {
    return Number(this.bytes.readBigUInt64LE(at));
  }
}
