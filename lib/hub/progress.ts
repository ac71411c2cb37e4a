/** What a download tells its caller. */
import type { HubOptions, HubProgress } from '../config';
import { guard } from '../guard';
import type { RemoteFile } from './client';

/** Milliseconds between two calls within one file. */
const INTERVAL_MS = 100;

/** The progress of one download over all of its files. */
export class Progress {
  private readonly totalBytes: number;
  /** Bytes of the files that are here whole. */
  private whole: number;
  private readonly report: ((progress: HubProgress) => Promise<unknown>) | undefined;
  private last = Number.NEGATIVE_INFINITY;

  /**
   * @param files All files of the model.
   * @param missing Those that are fetched.
   */
  constructor(files: readonly RemoteFile[], missing: readonly RemoteFile[], onProgress: HubOptions['onProgress']) {
    this.report = onProgress && guard(onProgress);
    this.totalBytes = bytesOf(files);
    this.whole = this.totalBytes - bytesOf(missing);
  }

  /** Some bytes of a file are here. */
  async at(file: RemoteFile, bytes: number): Promise<void> {
    const now = performance.now();
    if (bytes === file.size || now - this.last < INTERVAL_MS) return;
    this.last = now;
    await this.tell(file, bytes);
  }

  /** All of a file is here, and is right. */
  async done(file: RemoteFile): Promise<void> {
    await this.tell(file, file.size);
    this.whole += file.size;
  }

  private async tell({ path, size }: RemoteFile, fileBytes: number): Promise<void> {
    const { whole, totalBytes } = this;
    await this.report?.({ file: path, fileBytes, fileTotalBytes: size, bytes: whole + fileBytes, totalBytes });
  }
}

function bytesOf(files: readonly RemoteFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
