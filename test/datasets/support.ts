/** Folders, pictures and bytes that the tests of data sets are made of. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';

/** An empty folder for each test, gone after it; the function gives a path in it. */
export function useFolder(): (...parts: string[]) => string {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ddpm-datasets-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  return (...parts) => join(folder, ...parts);
}

/** Writes a file, and its folder where that is missing. */
export function put(path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

/** A picture of one colour. */
export function flat(colour: string, width = 8, height = width) {
  return sharp({ create: { width, height, channels: 3, background: colour } });
}

/** A PNG of given values; 16 bits where they come as a Uint16Array. */
export function png(values: Uint8Array | Uint16Array, width: number, channels: 1 | 2 | 3 | 4): Promise<Buffer> {
  const deep = values instanceof Uint16Array;
  const image = sharp(values, { raw: { width, height: values.length / width / channels, channels } });
  const grey = deep ? 'grey16' : 'b-w';
  return image
    .toColourspace(channels > 2 ? (deep ? 'rgb16' : 'srgb') : grey)
    .png()
    .toBuffer();
}

/** The same PNG with one more chunk behind its head. */
export function withChunk(image: Buffer, type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(body.length + 8);
  frame.writeUInt32BE(data.length);
  body.copy(frame, 4);
  frame.writeUInt32BE(checksum(body), body.length + 4);
  const headEnd = 8 + 25;
  return Buffer.concat([image.subarray(0, headEnd), frame, image.subarray(headEnd)]);
}

/** The CRC that PNG puts behind each chunk. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** The same PNG with an sRGB profile in it, its values as they are. */
export async function withProfile(image: Buffer): Promise<Buffer> {
  const { icc } = await sharp(await flat('#000').withIccProfile('srgb').png().toBuffer()).metadata();
  return withChunk(image, 'iCCP', Buffer.concat([Buffer.from('profile\0\0', 'latin1'), deflateSync(icc as Buffer)]));
}

/** n bytes that look random and are always the same. */
export function bytesOf(n: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(n);
  let state = seed;
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** What a promise rejects with; a failure of the test if it does not. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => {
      throw new Error('expected a rejection');
    },
    (error) => error,
  );
}

/** [r, g, b] of a pixel of an image with 3 channels. */
export function pixel(data: Uint8Array, width: number, x: number, y: number): number[] {
  const at = 3 * (y * width + x);
  return [...data.subarray(at, at + 3)];
}

/** Whether all values are within `tolerance` of those expected. */
export function expectClose(values: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(values.length).toBe(expected.length);
  const worst = Math.max(...Array.from(values, (value, i) => Math.abs(value - expected[i])));
  expect(worst).toBeLessThanOrEqual(tolerance);
}
