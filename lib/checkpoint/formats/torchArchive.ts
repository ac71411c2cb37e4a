/**
 * The archive that `torch.save` writes: a zip file with one folder, in which `data.pkl` describes the value and `data/`
 * has a record for each storage, none of them compressed.
 */
import type { FileHandle } from 'node:fs/promises';
import { type Entry, fromFdPromise } from 'yauzl';
import { DdpmError } from '../../errors';
import { quote } from './names';

/** Records of an archive; the largest networks have a few thousand. */
const MOST_RECORDS = 100_000;

/** A record's place in the file. */
export interface TorchRecord {
  readonly begin: number;
  readonly length: number;
}

/** The records of an archive by their names in its folder: `data.pkl`, `data/0`, … */
export type TorchRecords = ReadonlyMap<string, TorchRecord>;

/**
 * Finds the records of an archive.
 *
 * @param size Bytes of the file.
 * @param path What messages call it.
 * @param convert What to do about an archive of another kind.
 * @throws {DdpmError} `ERR_CHECKPOINT`; the file system's own error.
 */
export async function readTorchRecords(
  file: FileHandle,
  size: number,
  path: string,
  convert: string,
): Promise<TorchRecords> {
  const records = new Map<string, TorchRecord>();
  const folders = new Set<string>();
  try {
    const zip = await fromFdPromise(file.fd, { autoClose: false, lazyEntries: true });
    if (zip.entryCount > MOST_RECORDS)
      throw new Error(`expected at most ${MOST_RECORDS} records, got ${zip.entryCount}`);
    for await (const entry of zip.eachEntry()) {
      const [folder, ...rest] = entry.fileName.split('/');
      const name = rest.join('/');
      if (records.has(name)) throw new Error(`the record ${quote(name)} is there twice`);
      folders.add(folder);
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      records.set(name, placeOf(entry, fileDataStart, size));
    }
  } catch (error) {
    if (typeof (error as { syscall?: unknown }).syscall === 'string') throw error;
    throw new DdpmError('ERR_CHECKPOINT', `${path}: a damaged archive: ${(error as Error).message}`, { cause: error });
  }
  if (records.has('constants.pkl')) {
    throw new DdpmError('ERR_CHECKPOINT', `${path}: expected a state dict, got a TorchScript program. ${convert}`);
  }
  if (folders.size !== 1 || !records.has('data.pkl')) {
    throw new DdpmError(
      'ERR_CHECKPOINT',
      `${path}: expected an archive of torch.save, which has one folder with data.pkl`,
    );
  }
  return records;
}

function placeOf(entry: Entry, begin: number, size: number): TorchRecord {
  const { compressedSize, uncompressedSize, fileName } = entry;
  if (entry.compressionMethod !== 0 || entry.isEncrypted() || compressedSize !== uncompressedSize) {
    throw new Error(`the record ${quote(fileName)} is compressed or encrypted, as torch.save writes none`);
  }
  if (begin + compressedSize > size) throw new Error(`the record ${quote(fileName)} reaches beyond the file`);
  return { begin, length: compressedSize };
}
