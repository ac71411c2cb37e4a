import { DdpmError } from '../../errors';
import { writeFileAtomic } from '../../files/atomic';
import { openFile, readError } from '../../files/errors';

/** Room for a schedule of a million betas; no configuration is longer. */
export const MAX_JSON_BYTES = 64 * 1024 * 1024;

export type JsonObject = { readonly [key: string]: unknown };

/**
 * Reads a file that holds one JSON object.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: no such file, not JSON, or not an object; `ERR_IO`.
 */
export async function readJsonObject(path: string): Promise<JsonObject> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw new DdpmError('ERR_CHECKPOINT', `${path}: expected JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isJsonObject(value)) throw new DdpmError('ERR_CHECKPOINT', `${path}: expected a JSON object`);
  return value;
}

/** A number that JSON has not got, while it is a string. No file of ours or of diffusers' holds such a string. */
const NAN = '\0NaN';

/** Parses JSON, and what Python writes beyond it: `NaN`, `Infinity` and `-Infinity`. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Strings are passed over as a whole: they may hold these words.
    const standard = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\b(NaN|Infinity)\b/g, (found, word?: string) => {
      if (word === undefined) return found;
      return word === 'NaN' ? JSON.stringify(NAN) : '1e999';
    });
    if (standard === text) throw error;
    return JSON.parse(standard, (_, value) => (value === NAN ? Number.NaN : value));
  }
}

/** Writes an object as diffusers does, atomically. */
export async function writeJson(path: string, value: JsonObject): Promise<void> {
  await writeFileAtomic(path, (file) => file.writeFile(`${JSON.stringify(value, null, 2)}\n`));
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function readText(path: string): Promise<string> {
  try {
    const file = await openFile(path);
    try {
      const { size } = await file.stat();
      if (size > MAX_JSON_BYTES) {
        throw new DdpmError('ERR_CHECKPOINT', `${path}: expected at most ${MAX_JSON_BYTES} bytes, got ${size}`);
      }
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw readError(error, path);
  }
}
