/** One picture file to the levels of one image. */
import { readFile, stat } from 'node:fs/promises';
import sharp, { type Metadata, type SharpOptions } from 'sharp';
import { pacer } from '../concurrency';
import { whenFree } from '../files/whenFree';
import { colourLevels, luminance } from './colour';
import { readableFile } from './forms';
import { fillWith } from './layout';
import type { Shape } from './store';

/** How a picture that has not the image's sides is made to have them. */
export type Fit = 'cover' | 'contain' | 'fill';

/** The image to make of a picture. */
export interface Target extends Shape {
  /** 1, 3 or 4. */
  channels: number;
  fit: Fit;
  /** What shows through transparent parts and fills bars; nothing does where the image has transparency of its own. */
  background: string;
}

/** A picture in RGB, with a fourth channel where it has transparency. */
interface Picture {
  data: Uint8Array | Uint16Array;
  height: number;
  width: number;
  channels: number;
}

/** About how many pixels the longest side of a vector picture is measured at. */
const SVG_MEASURE = 2048;
const SVG_DEFAULT_DENSITY = 72;

/**
 * The whole of a picture file, so that what is measured, hashed and decoded are the same bytes.
 *
 * @throws {Error} The file system's error; or it is no file.
 */
export async function readPicture(file: string, signal?: AbortSignal): Promise<Buffer> {
  const found = await stat(file);
  if (!found.isFile()) throw new Error('not a regular file');
  return whenFree(() => readFile(file), signal);
}

/**
 * Levels, [H, W, C], of a picture: its first frame, upright, in sRGB.
 *
 * @throws {Error} It is empty, damaged, cut short, in a format that sharp does not read, or of a form that is refused.
 */
export async function decodePicture(bytes: Buffer, target: Target): Promise<Uint8Array> {
  if (bytes.length === 0) throw new Error('the file is empty');
  const { data, height, width, channels } = await decode(bytes, target);
  const exact = height === target.height && width === target.width && channels === 3 && target.channels === 3;
  if (exact && data instanceof Uint8Array) return data;
  return place({ data, height, width, channels }, target);
}

async function decode(file: Buffer, target: Target): Promise<Picture> {
  const { bytes, metadata } = await readableFile(file);
  const image = sharp(bytes, { failOn: 'error', autoOrient: true, ...drawing(metadata) });
  const deep = is16Bit(metadata) && !metadata.hasProfile;
  if (is16Bit(metadata) && metadata.hasProfile) image.pipelineColourspace(in8Bits(metadata));
  const { data, info } = await image
    .resize(target.width, target.height, {
      fit: target.fit === 'contain' ? 'inside' : target.fit,
      kernel: 'lanczos3',
      fastShrinkOnLoad: false,
    })
    .toColourspace(deep ? 'rgb16' : 'srgb')
    .raw({ depth: deep ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { height, width, channels } = info;
  return { height, width, channels, data: deep ? new Uint16Array(Uint8Array.from(data).buffer) : data };
}

/**
 * How a vector picture is opened. Its own size only gives its proportions, and is measured large, or they would be rounded
 * away; sharp then draws it at the size that the resize asks for, so that it needs no limit on pixels.
 */
function drawing({ format, width, height }: Metadata): SharpOptions {
  if (format !== 'svg') return {};
  const density = (SVG_DEFAULT_DENSITY * SVG_MEASURE) / Math.max(width, height);
  return { density: Math.min(Math.max(density, 1), 100_000), limitInputPixels: false };
}

function is16Bit({ depth, space }: Metadata): boolean {
  return depth === 'ushort' && (space === 'rgb16' || space === 'grey16');
}

/**
 * What a picture of 16 bits with a profile has to become first: sharp takes RGB of 16 bits through its profile to
 * Display P3, not to sRGB, and grey not at all.
 */
function in8Bits({ space }: Metadata): 'b-w' | 'srgb' {
  return space === 'grey16' ? 'b-w' : 'srgb';
}

/**
 * The picture in the middle of the image, its values scaled to levels (16 bits: v / 257, rounded); laid over the
 * background where the image has no transparency of its own, and only then made grey where it is to be.
 */
async function place({ data, height, width, channels }: Picture, target: Target): Promise<Uint8Array> {
  const largest = data instanceof Uint16Array ? 65535 : 255;
  const level = (at: number) => (data[at] * 255) / largest;
  const hasAlpha = channels === 4;
  const keepsAlpha = target.channels === 4;
  const background = colourLevels(target.background, 3);
  const bars = keepsAlpha ? [0, 0, 0, 0] : colourLevels(target.background, target.channels);

  const levels = new Uint8Array(target.height * target.width * target.channels);
  fillWith(levels, bars);
  const pause = pacer();
  const top = Math.floor((target.height - height) / 2);
  const left = Math.floor((target.width - width) / 2);
  const rgb = [0, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * channels;
      const to = ((y + top) * target.width + x + left) * target.channels;
      const alpha = hasAlpha ? Math.round(level(from + 3)) : 255;
      // What cannot be seen has no colour: scaling leaves none there either.
      if (keepsAlpha && alpha === 0) continue;
      const cover = hasAlpha && !keepsAlpha ? level(from + 3) / 255 : 1;
      for (let c = 0; c < 3; c++) rgb[c] = level(from + c) * cover + background[c] * (1 - cover);
      if (target.channels === 1) levels[to] = Math.round(luminance(rgb[0], rgb[1], rgb[2]));
      else for (let c = 0; c < 3; c++) levels[to + c] = Math.round(rgb[c]);
      if (keepsAlpha) levels[to + 3] = alpha;
    }
    await pause();
  }
  return levels;
}
