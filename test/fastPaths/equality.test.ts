/**
 * The fast paths against the plain one, over networks of every kind. DDPM_FAST_PATH_CASES is how many (by default 24); all
 * of 200 take some minutes.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { savedRandomModel } from '../model/models';
import { norm, relativeToLargest } from '../model/numbers';
import { caseOf } from './configs';

const cases = Number(process.env.DDPM_FAST_PATH_CASES ?? 24);

interface Result {
  output: Float32Array;
  gradient: Float32Array;
  loss: number;
}

let root: string;
let list: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ddpm-fast-'));
  list = join(root, 'list.json');
  const entries = [];
  for (let i = 0; i < cases; i++) {
    const { config, batch } = caseOf(i);
    const folder = join(root, String(i));
    await savedRandomModel(folder, config, i + 1);
    entries.push({ folder, batch });
  }
  writeFileSync(list, JSON.stringify(entries));
}, 600_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function results(precision: string, env: Record<string, string>): Promise<Result[]> {
  const program = join(__dirname, 'programs/outputs.cjs');
  const { stdout } = await promisify(execFile)(process.execPath, [program, list, precision], {
    env: { ...process.env, DDPM_PLAIN: '', ...env },
    maxBuffer: 2 ** 30,
  });
  const numbers = (text: string) => {
    const bytes = Buffer.from(text, 'base64');
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(cases);
  return lines.map((line) => {
    const { output, gradient, loss } = JSON.parse(line);
    return { output: numbers(output), gradient: numbers(gradient), loss };
  });
}

/** ‖a − b‖ / ‖b‖. */
function distance(a: Float32Array, b: Float32Array): number {
  return norm(a.map((value, i) => value - b[i])) / norm(b);
}

let plain: Promise<Result[]> | undefined;
const plainResults = () => {
  plain ??= results('float32', { DDPM_PLAIN: '1' });
  return plain;
};

describe.each<Record<string, string>>([
  { OMP_NUM_THREADS: '1' },
  { OMP_NUM_THREADS: '2' },
  { DDPM_CPU_ISA: 'avx2' },
  { DDPM_CPU_ISA: 'baseline' },
])('%j', (env) => {
  test('float32: outputs, gradients and losses', async () => {
    const [expected, got] = await Promise.all([plainResults(), results('float32', env)]);
    const wrong = got.flatMap(({ output, gradient, loss }, i) => {
      const found = {
        output: relativeToLargest(output, expected[i].output),
        gradient: relativeToLargest(gradient, expected[i].gradient),
        loss: Math.abs(loss / expected[i].loss - 1),
      };
      return Object.values(found).every((value) => value < 1e-4) ? [] : [{ seed: i, ...found }];
    });
    expect(wrong).toEqual([]);
  }, 600_000);
});

test('bfloat16: as near to float32 as the plain path in bfloat16', async () => {
  const [expected, plainly, fast] = await Promise.all([
    plainResults(),
    results('bfloat16', { DDPM_PLAIN: '1' }),
    results('bfloat16', {}),
  ]);
  // An error of a single rounding says nothing of the path.
  const leeway = 2 ** -9;
  const wrong = fast.flatMap((result, i) => {
    const errors = (['output', 'gradient'] as const).map((what) => ({
      what,
      fast: distance(result[what], expected[i][what]),
      plain: distance(plainly[i][what], expected[i][what]),
    }));
    return errors.filter((error) => error.fast > 1.5 * error.plain + leeway).map((error) => ({ seed: i, ...error }));
  });
  expect(wrong).toEqual([]);
}, 600_000);
