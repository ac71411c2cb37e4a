/** Comparing arrays of numbers. */
export type Numbers = ArrayLike<number>;

/** max |a − b|; NaN where either has one. */
export function largestDifference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** max |a|; NaN where there is one. */
export function largest(a: Numbers): number {
  return largestDifference(a, new Float32Array(a.length));
}

/** max |a − b| / max |b|. */
export function relativeToLargest(a: Numbers, b: Numbers): number {
  return largestDifference(a, b) / largest(b);
}

/** max |a / b − 1|, and |a| itself where b is 0. */
export function relativeEach(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  return largest(Float64Array.from(a, (value, i) => (b[i] === 0 ? value : value / b[i] - 1)));
}

/** √Σa². */
export function norm(a: Numbers): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * a[i];
  return Math.sqrt(sum);
}

export function mean(a: Numbers): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i];
  return sum / a.length;
}

/** The variance about the mean, over n − 1. */
export function variance(a: Numbers): number {
  const centre = mean(a);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - centre) ** 2;
  return sum / (a.length - 1);
}

/** n numbers from N(0, 1), the same for the same seed. */
export function normals(n: number, seed: number): Float32Array {
  const uniform = uniforms(seed);
  return Float32Array.from({ length: n }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

/** A generator of numbers in [0, 1) (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whether all bits are the same; unlike ===, also of NaN, and 0 differs from −0. */
export function sameBits(a: NodeJS.TypedArray, b: NodeJS.TypedArray): boolean {
  const bytes = (array: NodeJS.TypedArray) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}
