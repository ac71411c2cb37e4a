import { DdpmError, throwIfAborted } from '../../errors';
import { bytesPerElement, type FloatDtype, firstNonFinite } from '../formats/dtypes';
import type { TensorSource } from '../formats/safetensors';
import { matchParameters } from './keys';

/**
 * Reads the tensors of a file into parameters, piece by piece.
 *
 * @param parameters What the file must hold, and nothing else.
 * @param write Puts elements at a place of a parameter.
 * @throws {DdpmError} `ERR_CHECKPOINT`: the tensors are not those of the parameters, or are not finite; `ERR_IO`.
 *   {@link AbortError} when the signal fires.
 */
export async function fillFrom(
  source: TensorSource,
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[],
  write: (name: string, offset: number, bytes: Uint8Array, dtype: FloatDtype) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (const [name, tensor] of matchParameters(parameters, source)) {
    // matchParameters lets no other types through.
    const dtype = tensor.dtype as FloatDtype;
    let offset = 0;
    for await (const bytes of source.chunks(tensor.name)) {
      throwIfAborted(signal);
      const wrong = firstNonFinite(bytes, dtype);
      if (wrong >= 0) {
        const place = `tensor '${tensor.name}', element ${offset + wrong}`;
        throw new DdpmError(
          'ERR_CHECKPOINT',
          `${source.path}: ${place}: expected a finite number, got NaN or an infinity`,
        );
      }
      write(name, offset, bytes, dtype);
      offset += bytes.length / bytesPerElement[dtype];
    }
  }
}
