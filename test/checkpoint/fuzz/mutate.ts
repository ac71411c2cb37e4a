/** Files that are wrong in ways that nobody would think of: the same ones for the same seed. */

/** A number in [0, 1). */
export type Random = () => number;

const below = (random: Random, n: number) => Math.floor(n * random());
const pick = <T>(random: Random, values: readonly T[]): T => values[below(random, values.length)];

/** A few of the changes below, one after another. */
export function mutateBytes(bytes: Uint8Array, random: Random): Buffer {
  let mutated: Buffer = Buffer.from(bytes);
  for (let i = 0; i <= below(random, 3); i++) mutated = pick(random, byteChanges)(mutated, random);
  return mutated;
}

const byteChanges: ((bytes: Buffer, random: Random) => Buffer)[] = [
  function flipBits(bytes, random) {
    for (let i = 0; i <= below(random, 4) && bytes.length > 0; i++)
      bytes[below(random, bytes.length)] ^= 1 << below(random, 8);
    return bytes;
  },
  function cut(bytes, random) {
    return bytes.subarray(0, below(random, bytes.length + 1));
  },
  function remove(bytes, random) {
    const at = below(random, bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(random, 16))]);
  },
  function insert(bytes, random) {
    const at = below(random, bytes.length + 1);
    const more = Buffer.from(Array.from({ length: 1 + below(random, 16) }, () => below(random, 256)));
    return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]);
  },
  function repeat(bytes, random) {
    const at = below(random, bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - below(random, 64)))]);
  },
];

/** Lengths that a safetensors file may claim for its header. */
export function mutateLength(bytes: Uint8Array, random: Random): Buffer {
  const mutated = Buffer.from(bytes);
  const lengths = [
    0n,
    1n,
    7n,
    BigInt(bytes.length),
    BigInt(bytes.length - 8),
    100_000_000n,
    2n ** 31n,
    2n ** 53n,
    2n ** 64n - 1n,
  ];
  mutated.writeBigUInt64LE(pick(random, lengths));
  return mutated;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The text of a JSON value with a few of its parts changed. */
export function mutateJson(value: unknown, random: Random): string {
  const root: { value: Json } = { value: structuredClone(value) as Json };
  for (let i = 0; i <= below(random, 3); i++) changePart(root, random);
  const text = JSON.stringify(root.value);
  // Keys twice, and nesting that no parser of ours goes into.
  if (random() < 0.05) return text.replace(/"([^"]+)":/, (whole, key: string) => `"${key}":0,${whole}`);
  if (random() < 0.02) return '['.repeat(200_000) + text + ']'.repeat(200_000);
  return text;
}

function changePart(root: { [key: string]: Json }, random: Random): void {
  const places: { holder: Record<string, Json> | Json[]; key: string | number }[] = [];
  const visit = (holder: Record<string, Json> | Json[], key: string | number) => {
    places.push({ holder, key });
    const value = (holder as Record<string | number, Json>)[key];
    if (Array.isArray(value)) for (const i of value.keys()) visit(value, i);
    else if (value !== null && typeof value === 'object') for (const name of Object.keys(value)) visit(value, name);
  };
  visit(root, 'value');
  const { holder, key } = pick(random, places);
  const slots = holder as Record<string | number, Json>;
  const change = below(random, 5);
  if (change === 0 && key !== 'value') {
    if (Array.isArray(holder)) holder.splice(key as number, 1);
    else delete slots[key];
  } else if (change === 1 && !Array.isArray(holder)) {
    slots[`${key}${pick(random, ['', '_', 'x', '\u0000', '__proto__'])}`] = slots[key];
  } else if (change === 2) {
    const other = pick(random, places);
    slots[key] = structuredClone((other.holder as Record<string | number, Json>)[other.key] ?? null);
  } else {
    slots[key] = oddValue(slots[key], random);
  }
}

function oddValue(value: Json, random: Random): Json {
  const numbers = [0, -1, 1, 2, 3, 1.5, 1e-300, 1e300, 2 ** 31, 2 ** 32, 2 ** 53, 65536, 8192, 1_000_000, 4294967295];
  const odd: Json[] = [null, true, false, '', 'x', '../../../etc/passwd', 'a'.repeat(100_000), [], {}, [[]], [null]];
  if (typeof value === 'number' && random() < 0.7)
    return pick(random, [...numbers, value + 1, -value, value * 2, value / 2]);
  if (Array.isArray(value) && random() < 0.5) return [...value, ...value, pick(random, numbers)];
  return pick<Json>(random, [...odd, ...numbers]);
}
