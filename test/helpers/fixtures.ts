import { join } from 'node:path';
import type { Dtype } from '../../lib/checkpoint/formats/dtypes';
import { SafetensorsFile } from '../../lib/checkpoint/formats/safetensors';

/** Numbers of a file, row by row. */
export interface FixtureTensor {
  data: Float32Array | Float64Array | BigInt64Array;
  shape: number[];
}

/** The path of something below `test/fixtures/reference`. */
export function referencePath(...parts: string[]): string {
  return join(__dirname, '..', 'fixtures', 'reference', ...parts);
}

/** All tensors of a safetensors file, by name. */
export async function readTensors(path: string): Promise<Record<string, FixtureTensor>> {
  const file = await SafetensorsFile.open(path);
  try {
    const tensors: [string, FixtureTensor][] = [];
    for (const { name, dtype, shape } of file.tensors.values()) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.chunks(name)) chunks.push(Uint8Array.from(chunk));
      tensors.push([name, { data: numbers(dtype, await new Blob(chunks).arrayBuffer()), shape: [...shape] }]);
    }
    return Object.fromEntries(tensors);
  } finally {
    await file.close();
  }
}

function numbers(dtype: Dtype, buffer: ArrayBuffer): FixtureTensor['data'] {
  if (dtype === 'F32') return new Float32Array(buffer);
  if (dtype === 'F64') return new Float64Array(buffer);
  if (dtype === 'I64') return new BigInt64Array(buffer);
  throw new Error(`no fixture has tensors of ${dtype}`);
}
