/** Colour profiles of a few lines, to be told from sRGB at a glance. */

/** Primaries of sRGB as profiles have them, for D50: X, Y, Z of red, green and blue. */
const PRIMARIES = [
  [0.4361, 0.2225, 0.0139],
  [0.3851, 0.7169, 0.0971],
  [0.1431, 0.0606, 0.7141],
];
const WHITE = [0.9642, 1, 0.8249];

/** A profile in which a number is the light itself: 0.5 is half of white's, where sRGB has a fifth. */
export function linearProfile(colours: 'grey' | 'rgb'): Buffer {
  const tags: [string, Buffer][] =
    colours === 'grey'
      ? [['kTRC', linearCurve()]]
      : [...'rgb'].flatMap((name, i): [string, Buffer][] => [
          [`${name}XYZ`, xyz(PRIMARIES[i])],
          [`${name}TRC`, linearCurve()],
        ]);
  tags.unshift(['wtpt', xyz(WHITE)], ['desc', description()], ['cprt', text('public domain')]);

  const table = Buffer.alloc(4 + 12 * tags.length);
  table.writeUInt32BE(tags.length);
  let at = 128 + table.length;
  for (const [i, [name, content]] of tags.entries()) {
    table.write(name, 4 + 12 * i, 'latin1');
    table.writeUInt32BE(at, 8 + 12 * i);
    table.writeUInt32BE(content.length, 12 + 12 * i);
    at += content.length;
  }
  const head = Buffer.alloc(128);
  head.writeUInt32BE(at);
  head.writeUInt32BE(0x02400000, 8);
  head.write(`mntr${colours === 'grey' ? 'GRAY' : 'RGB '}XYZ `, 12, 'latin1');
  for (const [i, part] of [2026, 1, 1].entries()) head.writeUInt16BE(part, 24 + 2 * i);
  head.write('acsp', 36, 'latin1');
  for (const [i, value] of WHITE.entries()) head.writeInt32BE(Math.round(value * 65536), 68 + 4 * i);
  return Buffer.concat([head, table, ...tags.map(([, content]) => content)]);
}

function xyz(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.write('XYZ ', 'latin1');
  for (const [i, value] of values.entries()) bytes.writeInt32BE(Math.round(value * 65536), 8 + 4 * i);
  return bytes;
}

/** A curve of no points. */
function linearCurve(): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.write('curv', 'latin1');
  return bytes;
}

function text(words: string): Buffer {
  const bytes = Buffer.alloc(8 + 4 * Math.ceil((words.length + 1) / 4));
  bytes.write('text', 'latin1');
  bytes.write(words, 8, 'latin1');
  return bytes;
}

function description(): Buffer {
  const bytes = Buffer.alloc(96);
  bytes.write('desc', 'latin1');
  bytes.writeUInt32BE(5, 8);
  bytes.write('test', 12, 'latin1');
  return bytes;
}
