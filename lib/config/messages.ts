/**
 * The texts of refused options, in one shape for the whole package:
 *
 * - `<path>: expected <what is allowed>, got <value> (<type>)`
 * - `<path>: unknown option; did you mean '<nearest>'? Known: a, b, c`
 * - `<path>: not supported by this version`
 */
import { inspect } from 'node:util';
import { DdpmError } from '../errors';

/** The error of refused options: one line for each of them. */
export function configError(...lines: string[]): DdpmError {
  return new DdpmError('ERR_CONFIG', lines.join('\n'));
}

/** The error of one refused value; `path` as a user writes it (`unet.dropout`, `t[3]`). */
export function invalidOption(path: string, expected: string, value: unknown): DdpmError {
  return configError(invalidLine(path, expected, value));
}

/** The line of one refused value. */
export function invalidLine(path: string, expected: string, value: unknown): string {
  return `${path}: expected ${expected}, got ${describeValue(value)}`;
}

/** The line of a name that will mean something in a later version. */
export function notSupportedLine(path: string): string {
  return `${path}: not supported by this version`;
}

/** The line of a name that means nothing: `suggestions` are those that may have been meant, best first. */
export function unknownLine(path: string, suggestions: readonly string[], known: readonly string[]): string {
  const question = suggestions.length ? `; did you mean ${alternatives(suggestions)}?` : '.';
  return `${path}: unknown option${question} Known: ${known.join(', ')}`;
}

/** `'a', 'b' or 'c'`. */
export function alternatives(names: readonly string[]): string {
  const quoted = names.map((name) => `'${name}'`);
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
}

/** A value and its type on one line, cut where it is long: `NaN (number)`, `[ 1, 2 ] (array)`. */
export function describeValue(value: unknown): string {
  const text = inspect(value, {
    depth: 0,
    maxArrayLength: 8,
    maxStringLength: 60,
    breakLength: Infinity,
    compact: true,
  });
  return `${text} (${typeName(value)})`;
}

/**
 * The known name that is nearest to `name`, ignoring letter case: fewest letters added, left out, changed or swapped
 * with their neighbour. Undefined where nothing is near enough to be a slip.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  const distances = known.map((candidate) => editDistance(lower, candidate.toLowerCase()));
  const least = Math.min(...distances);
  return least <= 1 + Math.floor(name.length / 4) ? known[distances.indexOf(least)] : undefined;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value !== 'object') return typeof value;
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === 'string' && name !== 'Object' && name !== '' ? name : 'object';
}

/** Damerau and Levenshtein's distance, in its "optimal string alignment" form. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, substitution);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
