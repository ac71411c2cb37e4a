/** What tells one data set from another. */
import { createHash } from 'node:crypto';
import { pacer } from '../concurrency';
import { callNative } from '../operation';
import { type Dataset, pixelsOf } from './dataset';

/** Of a larger data set, images spread evenly over it are read, up to this many bytes. */
const MOST_BYTES = 256 * 1024 * 1024;

/** Bytes hashed at once: well below a millisecond of work. */
const PIECE_BYTES = 1024 * 1024;

/** A data set, in short. */
export interface Fingerprint {
  count: number;
  height: number;
  width: number;
  channels: number;
  /**
   * SHA-256, in hexadecimal, of the shape, the labels and the pixels in their order; of more than 256 MiB of pixels, those
   * of images spread evenly over the set.
   */
  sha256: string;
}

const known = new WeakMap<Dataset, Promise<Fingerprint>>();

/** The fingerprint of a data set, at once the second time. */
export function fingerprintOf(dataset: Dataset): Promise<Fingerprint> {
  let fingerprint = known.get(dataset);
  if (!fingerprint) {
    fingerprint = compute(dataset);
    known.set(dataset, fingerprint);
    // A failure says nothing of the data set: the next one who asks may have more luck.
    fingerprint.catch(() => known.delete(dataset));
  }
  return fingerprint;
}

async function compute(dataset: Dataset): Promise<Fingerprint> {
  const { count, height, width, channels, labels } = dataset;
  const hash = createHash('sha256').update(JSON.stringify([count, height, width, channels]));
  const pause = pacer();
  if (labels) {
    const bytes = new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      hash.update(bytes.subarray(at, at + PIECE_BYTES));
      await pause();
    }
  }
  const pixels = pixelsOf(dataset);
  const imageBytes = height * width * channels;
  const images = Math.min(count, Math.max(1, Math.floor(MOST_BYTES / imageBytes)));
  const together = images === count ? Math.max(1, Math.floor(PIECE_BYTES / imageBytes)) : 1;
  for (let i = 0; i < images; i += together) {
    const index = images === count ? i : Math.floor((i * count) / images);
    hash.update(callNative(() => pixels.read(index, Math.min(together, count - index))));
    await pause();
  }
  return { count, height, width, channels, sha256: hash.digest('hex') };
}
