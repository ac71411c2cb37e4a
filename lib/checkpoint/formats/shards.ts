/** Weights in several files, and the index that tells which tensor is in which. */
import { dirname, join } from 'node:path';
import { invalidLine } from '../../config/messages';
import { DdpmError } from '../../errors';
import { isJsonObject, readJsonObject } from './json';
import { listed, quote } from './names';
import type { TensorSource } from './safetensors';
import type { TensorShape } from './safetensorsHeader';

/** All are open at once; the largest models that are published have a few hundred. */
const MOST_FILES = 1000;

/** Weights in several open files. */
export class ShardedWeights implements TensorSource {
  private constructor(
    readonly path: string,
    readonly tensors: ReadonlyMap<string, TensorShape>,
    private readonly files: ReadonlyMap<string, TensorSource>,
    private readonly fileOf: ReadonlyMap<string, string>,
  ) {}

  /**
   * @param path The index.
   * @param extension The files' own.
   * @param open Opens one of them.
   * @throws {DdpmError} `ERR_CHECKPOINT`: the index is damaged or does not fit its files (all that is wrong is told), or a
   *   file is missing or damaged; `ERR_IO`.
   */
  static async open(
    path: string,
    extension: string,
    open: (path: string) => Promise<TensorSource>,
  ): Promise<ShardedWeights> {
    const fileOf = readIndex(path, extension, (await readJsonObject(path)).weight_map);
    const files = new Map<string, TensorSource>();
    const problems: string[] = [];
    try {
      for (const name of new Set(fileOf.values())) {
        try {
          files.set(name, await open(join(dirname(path), name)));
        } catch (error) {
          if (!(error instanceof DdpmError && error.code === 'ERR_CHECKPOINT')) throw error;
          problems.push(error.message);
        }
      }
      if (problems.length) {
        throw new DdpmError(
          'ERR_CHECKPOINT',
          [`${path}: files that it names`, ...listed('wrong', problems)].join('\n'),
        );
      }
      return new ShardedWeights(path, checkedTensors(path, fileOf, files), files, fileOf);
    } catch (error) {
      await closeAll(files.values());
      throw error;
    }
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void> {
    const file = this.files.get(this.fileOf.get(name) ?? '');
    if (!file) throw new DdpmError('ERR_CHECKPOINT', `${this.path}: no tensor ${quote(name)}`);
    yield* file.chunks(name);
  }

  async close(): Promise<void> {
    await closeAll(this.files.values());
  }
}

/** The file of each tensor. Names come from anywhere: they must be of files that lie beside the index. */
function readIndex(path: string, extension: string, map: unknown): Map<string, string> {
  if (!isJsonObject(map)) {
    throw new DdpmError('ERR_CHECKPOINT', invalidLine(`${path}: weight_map`, 'an object', map));
  }
  const plain = new RegExp(`^[\\w][\\w.-]*\\.${extension}$`);
  const isFile = (name: unknown): name is string => typeof name === 'string' && plain.test(name);
  const entries = Object.entries(map);
  const wrong = entries.filter(([, name]) => !isFile(name));
  if (wrong.length) {
    const expected = `the plain name of a .${extension} file in its folder`;
    const lines = wrong.map(([tensor, name]) => invalidLine(quote(tensor), expected, name));
    throw new DdpmError('ERR_CHECKPOINT', [`${path}: weight_map`, ...listed('wrong', lines)].join('\n'));
  }
  const fileOf = new Map(entries as [string, string][]);
  const count = new Set(fileOf.values()).size;
  if (count > MOST_FILES) {
    throw new DdpmError('ERR_CHECKPOINT', `${path}: weight_map: expected at most ${MOST_FILES} files, got ${count}`);
  }
  return fileOf;
}

/** All tensors, in the order of the files; each must be where the index has it, and no file may hold others. */
function checkedTensors(
  path: string,
  fileOf: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, TensorSource>,
): Map<string, TensorShape> {
  const tensors = new Map<string, TensorShape>();
  const others: string[] = [];
  for (const [name, file] of files) {
    for (const tensor of file.tensors.values()) {
      if (fileOf.get(tensor.name) === name) tensors.set(tensor.name, tensor);
      else others.push(`${quote(tensor.name)} in ${name}`);
    }
  }
  const missing = [...fileOf].filter(([tensor]) => !tensors.has(tensor));
  const problems = [
    ...listed(
      'not in the file that the index names',
      missing.map(([tensor, file]) => `${quote(tensor)} in ${file}`),
    ),
    ...listed('of which the index does not say so', others),
  ];
  if (problems.length === 0) return tensors;
  throw new DdpmError('ERR_CHECKPOINT', [`${path}: the index does not fit its files`, ...problems].join('\n'));
}

async function closeAll(files: Iterable<TensorSource>): Promise<void> {
  for (const file of files) await file.close();
}
