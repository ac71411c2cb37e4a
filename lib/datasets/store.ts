/** Levels on their way into the native side. */
import { type NativePixelStore, native } from '../binding';
import { callNative } from '../operation';
import type { SkippedFile } from './dataset';

/** Height, width and channels of images. */
export interface Shape {
  height: number;
  width: number;
  channels: number;
}

/** A file that could not be read this time. */
export interface UnreadFile extends SkippedFile {
  /** Whether the fault is not one of its content, and may be gone the next time. */
  mayPass: boolean;
}

/** Decoded images, and the files that could not be. */
export interface Decoded {
  pixels: NativePixelStore;
  skipped: UnreadFile[];
}

/** An empty store in memory. */
export function createStore({ height, width, channels }: Shape): NativePixelStore {
  const { PixelStore } = native();
  return callNative(() => new PixelStore({ height, width, channels }));
}

/** Copies whole images in at the end. */
export function append(store: NativePixelStore, levels: Uint8Array): void {
  callNative(() => store.append(levels));
}

/** Images in a file, from a byte on. */
export function mapFile(path: string, shape: Shape, count: number, byteOffset: number): NativePixelStore {
  const { height, width, channels } = shape;
  return callNative(() => native().PixelStore.map(path, { height, width, channels, count, byteOffset }));
}
