/** The checkpoints of a folder. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DdpmError } from '../../errors';
import { isMissing } from '../../files/errors';
import { removeFolder } from '../../files/publish';
import { whenFree } from '../../files/whenFree';
import { readJsonObject } from '../formats/json';
import { layout, parseFolderName } from './layout';
import { type Manifest, parseManifest } from './manifest';

/** A checkpoint as its name and its manifest tell of it; the other files are not looked at. */
export interface CheckpointEntry {
  /** Its folder's name. */
  name: string;
  step: number;
  copy: number;
  /** Undefined where it cannot be read. */
  manifest: Manifest | undefined;
  /** Whether the manifest is damaged or missing; one that the machine does not let be read now may be whole. */
  isDamaged: boolean;
}

/**
 * The checkpoints of a folder, the one saved last first; before it those whose manifest cannot be read, since nothing
 * else tells when they were saved. Empty where there is no such folder.
 */
export async function listCheckpoints(directory: string): Promise<CheckpointEntry[]> {
  const names = await whenFree(() => readdir(directory)).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const entries: CheckpointEntry[] = [];
  for (const name of names) {
    const place = parseFolderName(name);
    if (place) entries.push({ name, ...place, ...(await manifestIfWhole(join(directory, name))) });
  }
  const age = ({ manifest, step, copy }: CheckpointEntry) => [manifest?.sequence ?? Number.MAX_VALUE, step, copy];
  return entries.sort((a, b) => compare(age(b), age(a)));
}

/**
 * Reads the manifest of a checkpoint.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`: missing or damaged; `ERR_IO`.
 */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, layout.manifest);
  return parseManifest(path, await readJsonObject(path));
}

/**
 * Removes the checkpoints that are not to be kept: all but the `keep` that were saved last and the one of the best metric,
 * and those that `newest`, of the same step, stands in for. One whose manifest is damaged goes once all that are kept are of
 * later steps; one whose manifest cannot be read for another reason stays.
 *
 * @param newest Name of the one saved last.
 */
export async function prune(directory: string, keep: number, newest: string): Promise<void> {
  const step = parseFolderName(newest)?.step;
  const entries = await listCheckpoints(directory);
  const [replaced, others] = partition(entries, (entry) => entry.step === step && entry.name !== newest);
  const [whole] = partition(others, (entry) => entry.manifest !== undefined);
  const kept = whole.slice(0, keep);
  const [aged] = partition(others, (entry) => entry.isDamaged && kept.every((other) => other.step > entry.step));
  const [unwanted] = partition(whole.slice(keep), (entry) => entry !== best(whole));
  for (const { name } of [...replaced, ...aged, ...unwanted]) await removeFolder(directory, name);
}

/** The one with the lowest metric, the newest of equals; undefined where none has a metric. */
function best(entries: readonly CheckpointEntry[]): CheckpointEntry | undefined {
  const metricOf = (entry: CheckpointEntry) => entry.manifest?.metric ?? Number.POSITIVE_INFINITY;
  const lowest = Math.min(...entries.map(metricOf));
  return lowest === Number.POSITIVE_INFINITY ? undefined : entries.find((entry) => metricOf(entry) === lowest);
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

async function manifestIfWhole(folder: string): Promise<Pick<CheckpointEntry, 'manifest' | 'isDamaged'>> {
  try {
    return { manifest: await whenFree(() => readManifest(folder)), isDamaged: false };
  } catch (error) {
    if (error instanceof DdpmError) return { manifest: undefined, isDamaged: error.code === 'ERR_CHECKPOINT' };
    throw error;
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((value, at) => value !== b[at]);
  return i < 0 ? 0 : a[i] - b[i];
}
