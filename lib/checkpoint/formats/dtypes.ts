/** The kinds of numbers in weight files. */

/**
 * Half precision, bfloat16, single, double, and 64-bit integers, all little-endian; in the order of the safetensors
 * library, which puts the tensors of the last of these first.
 */
export const dtypes = ['F16', 'BF16', 'F32', 'F64', 'I64'] as const;

export type Dtype = (typeof dtypes)[number];

/** The kinds that weights can have. */
export type FloatDtype = Exclude<Dtype, 'I64'>;

export const bytesPerElement: Readonly<Record<Dtype, number>> = { F16: 2, BF16: 2, F32: 4, F64: 8, I64: 8 };

export const floatDtypes = dtypes.filter((dtype): dtype is FloatDtype => dtype !== 'I64');

/**
 * The first element that is NaN or infinite as a float32, or -1.
 *
 * @param bytes Whole elements; starts at a multiple of an element's size in its buffer.
 */
export function firstNonFinite(bytes: Uint8Array, dtype: FloatDtype): number {
  const { buffer, byteOffset } = bytes;
  const count = bytes.byteLength / bytesPerElement[dtype];
  switch (dtype) {
    case 'F16':
      return firstWithExponent(new Uint16Array(buffer, byteOffset, count), 0x7c00);
    case 'BF16':
      return firstWithExponent(new Uint16Array(buffer, byteOffset, count), 0x7f80);
    case 'F32':
      return firstWithExponent(new Uint32Array(buffer, byteOffset, count), 0x7f800000);
    case 'F64': {
      const values = new Float64Array(buffer, byteOffset, count);
      for (let i = 0; i < count; i++) if (!Number.isFinite(Math.fround(values[i]))) return i;
      return -1;
    }
  }
}

/** IEEE numbers whose exponent is all ones are the infinities and NaNs. */
function firstWithExponent(words: Uint16Array | Uint32Array, ones: number): number {
  for (let i = 0; i < words.length; i++) if ((words[i] & ones) === ones) return i;
  return -1;
}
