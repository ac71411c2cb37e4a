/** The manifest of a checkpoint: the numbers of its state, what it was trained on, and checksums of everything. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { NativeTrainingCounters } from '../../binding';
import { type DdpmConfig, invalidLine, type ResolvedConfig, resolveConfig } from '../../config';
import type { Fingerprint } from '../../datasets/fingerprint';
import { DdpmError } from '../../errors';
import type { Digest } from '../../files/digest';
import type { JsonObject } from '../formats/json';
import type { Versions } from './versions';

/** Goes up when a reader of the version before would misread the folder. */
const FORMAT_VERSION = 1;

/** The last `train()` before a checkpoint: what it was asked for, and the images. */
export interface TrainingRecord {
  steps: number;
  batchSize: number;
  gradientAccumulation: number;
  horizontalFlip: boolean;
  dataset: Fingerprint;
}

export interface Manifest {
  /** Counts the checkpoints of a folder: a higher one was saved later. */
  sequence: number;
  /** When it was saved, as Date.toISOString() writes it. */
  savedAt: string;
  /** Of what saved it. */
  versions: Versions;
  config: ResolvedConfig;
  counters: NativeTrainingCounters;
  /** Null where `train()` was not called. */
  training: TrainingRecord | null;
  /** What `checkpoint.metric` gave, lower being better; null where it was not asked for. */
  metric: number | null;
  /** Every other file, by its path with `/`. */
  files: Record<string, Digest>;
}

const count = z.int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** How random numbers come about; another generator would go on with others. See native/kernels/philox.h. */
const random = { generator: 'philox4x32-10' } as const;

const schema = z.strictObject({
  formatVersion: z.literal(FORMAT_VERSION),
  sequence: count,
  savedAt: z.string().max(100),
  versions: z.strictObject({ ddpmNode: z.string().max(100), libtorch: z.string().max(100) }),
  config: z.record(z.string(), z.unknown()),
  random: z.strictObject({ generator: z.literal(random.generator) }),
  counters: z.strictObject({
    step: count,
    updates: count,
    // Where it is not told, nothing was averaged before the first update.
    averaged: count.optional(),
    imagesSeen: count,
    skippedInARow: count,
    unreportedLosses: count,
    unreportedLoss: z.number(),
  } satisfies Record<keyof NativeTrainingCounters, z.ZodType>),
  training: z
    .strictObject({
      steps: count,
      batchSize: count,
      gradientAccumulation: count,
      horizontalFlip: z.boolean(),
      dataset: z.strictObject({ count, height: count, width: count, channels: count, sha256 }),
    })
    .nullable(),
  metric: z.number().nullable(),
  files: z.record(z.string(), z.strictObject({ bytes: count, sha256 })),
});

/** The file's contents. */
export function manifestFile(manifest: Manifest): JsonObject {
  const body = { formatVersion: FORMAT_VERSION, random, ...manifest };
  return { ...body, checksum: checksumOf(body) };
}

/**
 * Reads the file's contents, and checks them.
 *
 * @param name What messages call the file.
 * @throws {DdpmError} `ERR_CHECKPOINT`: of another format, damaged, or with a configuration that is not supported.
 */
export function parseManifest(name: string, { checksum, ...body }: JsonObject): Manifest {
  // The version first: the checksum of a later format may be another.
  if (body.formatVersion !== FORMAT_VERSION) {
    const known = `${FORMAT_VERSION} (a higher one is of a newer version of this package)`;
    throw new DdpmError('ERR_CHECKPOINT', invalidLine(`${name}: formatVersion`, known, body.formatVersion));
  }
  const expected = checksumOf(body);
  if (expected === undefined || checksum !== expected) {
    throw new DdpmError('ERR_CHECKPOINT', `${name}: the checksum does not match: the file is damaged or was edited`);
  }
  const result = schema.safeParse(body);
  if (!result.success) {
    const [{ path, message }] = result.error.issues;
    throw new DdpmError('ERR_CHECKPOINT', `${name}: ${path.join('.')}: ${message}`);
  }
  const { formatVersion, random: _, ...manifest } = result.data;
  const { counters } = manifest;
  return {
    ...manifest,
    counters: { ...counters, averaged: counters.averaged ?? counters.updates },
    config: checkedConfig(name, manifest.config),
  };
}

function checkedConfig(name: string, config: Record<string, unknown>): ResolvedConfig {
  try {
    return resolveConfig(config as unknown as DdpmConfig);
  } catch (error) {
    if (!(error instanceof DdpmError)) throw error;
    throw new DdpmError('ERR_CHECKPOINT', `${name}: config: ${error.message}`, { cause: error });
  }
}

/** Of the text that JSON gives; what was parsed gives the same text again, since keys keep their order. */
function checksumOf(body: JsonObject): string | undefined {
  try {
    return createHash('sha256').update(JSON.stringify(body)).digest('hex');
  } catch {
    // Nested more deeply than can be written: nothing of ours.
    return undefined;
  }
}
