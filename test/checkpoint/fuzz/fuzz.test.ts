/**
 * Thousands of wrong files: each is an error of this package with a code, or loads and is finite; never a crash, a hang or
 * memory beyond what a file can hold. DDPM_FUZZ is how many cases to try (by default some hundreds), DDPM_FUZZ_SEED the
 * first seed: a case that fails is tried alone with its seed and DDPM_FUZZ=1.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ddpm, DdpmError } from '../../../lib';
import { layout as checkpointLayout } from '../../../lib/checkpoint/state/layout';
import { small, valuesOf } from '../../model/models';
import { uniforms } from '../../model/numbers';
import { mutateBytes, mutateJson, mutateLength, type Random } from './mutate';

const cases = Number(process.env.DDPM_FUZZ ?? 600);
const firstSeed = Number(process.env.DDPM_FUZZ_SEED ?? 1);
/** Milliseconds that no case may take. */
const longest = 20_000;
/** Bytes that no case may take for itself: far more than the files, far less than what they may claim. */
const mostMemory = 256 * 2 ** 20;

const codes = ['ERR_CHECKPOINT', 'ERR_CONFIG', 'ERR_IO'];

let root: string;
/** A folder with a whole model or checkpoint, and how to load it. */
interface Subject {
  folder: string;
  load(): Promise<Ddpm>;
  /** The files to change, by how. */
  json: string[];
  safetensors: string[];
  /** Makes checksums fit what was changed, so that it is not they alone that refuse it. */
  seal?(): void;
}
const subjects: Subject[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ddpm-fuzz-'));
  await using ddpm = new Ddpm(small);
  const plain = join(root, 'plain');
  await ddpm.save(plain, { rawWeights: true });
  const weights = 'unet/diffusion_pytorch_model.safetensors';
  const raw = 'unet/diffusion_pytorch_model.raw.safetensors';
  const configs = ['model_index.json', 'unet/config.json', 'scheduler/scheduler_config.json', 'ddpm_node.json'];
  subjects.push({ folder: plain, load: () => Ddpm.load(plain), json: configs, safetensors: [weights, raw] });

  const sharded = join(root, 'sharded');
  cpSync(plain, sharded, { recursive: true });
  const shard = 'diffusion_pytorch_model-00001-of-00001.safetensors';
  cpSync(join(plain, weights), join(sharded, 'unet', shard));
  for (const file of [weights, raw]) rmSync(join(sharded, file));
  const names = [...(await valuesOf(ddpm, 'ema')).keys()];
  const index = `${weights}.index.json`;
  const map = {
    metadata: { total_size: 4 * ddpm.parameterCount },
    weight_map: Object.fromEntries(names.map((n) => [n, shard])),
  };
  writeFileSync(join(sharded, index), JSON.stringify(map));
  subjects.push({ folder: sharded, load: () => Ddpm.load(sharded), json: [index], safetensors: [`unet/${shard}`] });

  const { path } = await ddpm.saveCheckpoint(join(root, 'checkpoints'));
  subjects.push({
    folder: path,
    load: () => Ddpm.resume(path),
    json: [checkpointLayout.manifest],
    safetensors: [checkpointLayout.optimizer],
    seal: () => seal(path),
  });
});

function seal(folder: string): void {
  const path = join(folder, checkpointLayout.manifest);
  const digest = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
  try {
    const { checksum: _, ...body } = JSON.parse(readFileSync(path, 'utf8'));
    const { optimizer } = checkpointLayout;
    const bytes = readFileSync(join(folder, optimizer));
    if (body.files?.[optimizer]) body.files[optimizer] = { bytes: bytes.length, sha256: digest(bytes) };
    writeFileSync(path, JSON.stringify({ ...body, checksum: digest(JSON.stringify(body)) }));
  } catch {
    // No JSON any more, or nested too deeply to be written.
  }
}
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Changes one file of one subject; returns how to undo it. */
function change(subject: Subject, random: Random): { file: string; undo: () => void } {
  const json = random() < 0.6;
  const files = json ? subject.json : subject.safetensors;
  const file = files[Math.floor(random() * files.length)];
  const path = join(subject.folder, file);
  const kept = [file, ...(subject.seal ? [checkpointLayout.manifest] : [])].map((name) => join(subject.folder, name));
  const before = readFileSync(path);
  const contents = kept.map((name) => readFileSync(name));
  const undo = () => {
    for (const [i, name] of kept.entries()) writeFileSync(name, contents[i]);
  };
  if (json && random() < 0.75) {
    writeFileSync(path, mutateJson(JSON.parse(before.toString()), random));
  } else if (json) {
    writeFileSync(path, mutateBytes(before, random));
  } else {
    writeFileSync(path, mutateHeader(before, random));
  }
  if (random() < 0.9) subject.seal?.();
  return { file, undo };
}

/** A safetensors file with another header: its length, its JSON or its bytes. */
function mutateHeader(bytes: Buffer, random: Random): Buffer {
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = bytes.subarray(8, end);
  const how = random();
  if (how < 0.15) return mutateLength(bytes, random);
  const changed =
    how < 0.6 ? Buffer.from(mutateJson(JSON.parse(header.toString()), random)) : mutateBytes(header, random);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(changed.length));
  const whole = Buffer.concat([length, changed, bytes.subarray(end)]);
  return how > 0.9 ? mutateBytes(whole, random) : whole;
}

/** How the cases ended: by code, or 'loaded'. */
const endings = new Map<string, number>();

function count(ending: string): void {
  endings.set(ending, (endings.get(ending) ?? 0) + 1);
}

/** What went wrong with a case; undefined where nothing did. */
async function outcome(seed: number): Promise<string | undefined> {
  const random = uniforms(seed);
  const subject = subjects[Math.floor(random() * subjects.length)];
  const { file, undo } = change(subject, random);
  const memory = process.memoryUsage.rss();
  const start = performance.now();
  try {
    await using ddpm = await subject.load();
    const values = await valuesOf(ddpm, 'ema');
    if (![...values.values()].every((data) => data.every(Number.isFinite))) return `${file}: loaded what is not finite`;
    count('loaded');
  } catch (error) {
    if (!(error instanceof DdpmError)) return `${file}: ${error instanceof Error ? error.stack : String(error)}`;
    if (!codes.includes(error.code)) return `${file}: ${error.code}: ${error.message}`;
    count(error.code);
    if (error.message.length > 20_000) return `${file}: a message of ${error.message.length} characters`;
  } finally {
    undo();
  }
  const grown = process.memoryUsage.rss() - memory;
  const took = performance.now() - start;
  if (grown > mostMemory) return `${file}: took ${grown} bytes`;
  if (took > longest) return `${file}: took ${took} ms`;
  return undefined;
}

test(`${cases} wrong files from seed ${firstSeed} on`, async () => {
  const rejections: unknown[] = [];
  const listen = (reason: unknown) => rejections.push(reason);
  process.on('unhandledRejection', listen);
  const problems: string[] = [];
  expect(cases).toBeGreaterThan(0);
  for (let seed = firstSeed; seed < firstSeed + cases; seed++) {
    const problem = await outcome(seed);
    if (problem !== undefined) problems.push(`seed ${seed}: ${problem}`);
  }
  process.off('unhandledRejection', listen);
  expect(problems).toEqual([]);
  expect(rejections).toEqual([]);
  // Neither are all of them refused by their first byte, nor do all load: the cases go deep.
  if (cases >= 100) {
    for (const ending of ['loaded', 'ERR_CHECKPOINT']) {
      expect({ ending, enough: (endings.get(ending) ?? 0) > cases / 50, endings }).toMatchObject({ enough: true });
    }
  }
  // The files that were put back are whole.
  for (const subject of subjects) await (await subject.load()).dispose();
}, 3_600_000);
