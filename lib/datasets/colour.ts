/** Plain colours, written as in CSS. */
import { z } from 'zod';
import { allow } from '../config/schema';

/** An option that is a colour. */
export const colour = () => allow("a colour as '#rgb' or '#rrggbb'", z.string().regex(/^#([\da-f]{3}|[\da-f]{6})$/i));

/** The levels of a checked colour, opaque: grey (1 channel), grey and alpha (2), RGB (3) or RGBA (4). */
export function colourLevels(text: string, channels: number): number[] {
  const [red, green, blue] = rgbOf(text);
  const colours = channels > 2 ? [red, green, blue] : [Math.round(luminance(red, green, blue))];
  return channels % 2 === 0 ? [...colours, 255] : colours;
}

/** The grey of a colour, not rounded: its luminance in linear light, ITU-R BT.709. */
export function luminance(red: number, green: number, blue: number): number {
  if (red === green && green === blue) return red;
  const linear = 0.2126 * linearOf(red) + 0.7152 * linearOf(green) + 0.0722 * linearOf(blue);
  return 255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055);
}

function linearOf(level: number): number {
  return Number.isInteger(level) ? linearLevels[level] : toLinear(level);
}

/** Of whole levels, which most are: a power for each of them would take longer than decoding does. */
const linearLevels = Float64Array.from({ length: 256 }, (_, level) => toLinear(level));

/** The sRGB transfer function, IEC 61966-2-1. */
function toLinear(level: number): number {
  const value = level / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function rgbOf(text: string): number[] {
  const digits = text.slice(1);
  const pairs = digits.length === 3 ? [...digits].map((digit) => digit + digit) : (digits.match(/../g) ?? []);
  return pairs.map((pair) => Number.parseInt(pair, 16));
}
