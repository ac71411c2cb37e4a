/** What a file holds, in short. */
import { createHash } from 'node:crypto';
import { openFile } from './errors';

/** Read and hashed at once: well below a millisecond of work. */
const CHUNK_BYTES = 1024 * 1024;

export interface Digest {
  bytes: number;
  /** Of the contents, in hexadecimal. */
  sha256: string;
}

/**
 * @param onPiece Called for each piece; what it throws ends the work.
 * @throws The file system's error; {@link DdpmError} `ERR_CHECKPOINT`: no plain file.
 */
export async function digestOf(path: string, onPiece: () => void = () => {}): Promise<Digest> {
  const file = await openFile(path);
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, bytes);
      if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') };
      onPiece();
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await file.close();
  }
}
