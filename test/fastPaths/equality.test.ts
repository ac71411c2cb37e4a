/**
 * The fast paths against the plain one, over networks of every kind. DDPM_FAST_PATH_CASES is how many (by default 16); 200
 * take a quarter of an hour.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { device } from '../helpers/device';
import { savedRandomModel } from '../model/models';
import { largest, largestDifference, mean, norm, relativeEach, relativeToLargest } from '../model/numbers';
import { caseOf } from './configs';
import { printedBy } from './programs';

const cases = Number(process.env.DDPM_FAST_PATH_CASES ?? 16);
/** The first of them, so that several processes can share the work. */
const firstCase = Number(process.env.DDPM_FAST_PATH_FIRST ?? 0);
/** Instruction sets of older processors; a card has one set of kernels. */
const onCpu = device === 'cpu';
const older: Record<string, string>[] = [{ DDPM_CPU_ISA: 'avx2' }, { DDPM_CPU_ISA: 'baseline' }];
/** How many are held in memory at once. */
const atOnce = 24;
const firsts = Array.from({ length: Math.ceil(cases / atOnce) }, (_, i) => firstCase + i * atOnce);

interface Result {
  output: Float32Array;
  /** By the parameter's name. */
  gradients: Record<string, Float32Array>;
  losses: number[];
}

function numbers(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** ‖a − b‖ / ‖b‖ of numbers in several arrays. */
function distance(a: Float32Array[], b: Float32Array[]): number {
  const differences = a.map((values, k) => norm(values.map((value, i) => value - b[k][i])));
  return norm(differences) / norm(b.map(norm));
}

describe.each(firsts)('networks from %i on', (first) => {
  const seeds = Array.from({ length: Math.min(atOnce, firstCase + cases - first) }, (_, i) => first + i);
  let root: string;
  let list: string;
  const plain = new Map<string, Promise<Result[]>>();

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'ddpm-fast-'));
    list = join(root, 'list.json');
    const entries = [];
    for (const seed of seeds) {
      const { config, batch, offset } = caseOf(seed);
      const folder = join(root, String(seed));
      await savedRandomModel(folder, config, seed + 1);
      entries.push({ folder, batch, offset, seed });
    }
    writeFileSync(list, JSON.stringify(entries));
  }, 600_000);
  afterAll(() => {
    plain.clear();
    rmSync(root, { recursive: true, force: true });
  });

  async function results(precision: string, env: Record<string, string>): Promise<Result[]> {
    const lines = (await printedBy('outputs.cjs', [list, precision], env)).split('\n');
    expect(lines).toHaveLength(seeds.length);
    return lines.map((line) => {
      const { output, gradients, losses } = JSON.parse(line) as {
        output: string;
        gradients: Record<string, string>;
        losses: number[];
      };
      const entries = Object.entries(gradients).map(([name, values]) => [name, numbers(values)]);
      return { output: numbers(output), gradients: Object.fromEntries(entries), losses };
    });
  }

  function plainResults(precision: string): Promise<Result[]> {
    const known = plain.get(precision) ?? results(precision, { DDPM_PLAIN: '1' });
    plain.set(precision, known);
    return known;
  }

  describe.each(onCpu ? [{ OMP_NUM_THREADS: '1' }, { OMP_NUM_THREADS: '7' }, ...older] : [{}])('%j', (env) => {
    test('float32: outputs, gradients and losses', async () => {
      const [expected, got] = await Promise.all([plainResults('float32'), results('float32', env)]);
      const wrong = got.flatMap(({ output, gradients, losses }, i) => {
        const all = largest(Object.values(expected[i].gradients).map(largest));
        const found = {
          output: relativeToLargest(output, expected[i].output),
          losses: relativeEach(losses, expected[i].losses),
          // Each parameter by itself; one whose gradient is nothing but rounding, such as that of a bias before a group
          // normalization of single channels, by the others.
          ...Object.fromEntries(
            Object.entries(gradients).map(([name, values]) => {
              const right = expected[i].gradients[name];
              return [name, largestDifference(values, right) / Math.max(largest(right), 1e-2 * all)];
            }),
          ),
        };
        const beyond = Object.entries(found).filter(([, value]) => !(value < 1e-4));
        return beyond.length === 0 ? [] : [{ seed: seeds[i], ...Object.fromEntries(beyond) }];
      });
      expect(wrong).toEqual([]);
    }, 600_000);
  });

  // Without AVX-512 a network's convolutions are not packed.
  test.each(onCpu ? [{ OMP_NUM_THREADS: '1' }, { OMP_NUM_THREADS: '2' }, ...older] : [{}])(
    'bfloat16: as near to float32 as the plain path in bfloat16: %j',
    async (env) => {
      const expected = await plainResults('float32');
      const [plainly, fast] = await Promise.all([plainResults('bfloat16'), results('bfloat16', env)]);
      const parts = {
        output: ({ output }: Result) => [output],
        gradient: ({ gradients }: Result) => Object.values(gradients),
      };
      const errors = fast.flatMap((result, i) =>
        Object.entries(parts).map(([part, of]) => ({
          seed: seeds[i],
          part,
          fast: distance(of(result), of(expected[i])),
          plain: distance(of(plainly[i]), of(expected[i])),
        })),
      );
      // An error of a single rounding says nothing of the path: 2^-9.
      const wrong = errors.filter((error) => !(error.fast < 1.5 * error.plain + 2 ** -9));
      expect(wrong).toEqual([]);
      // One network is further off by chance; all together are not.
      const logarithms = errors.map((error) => Math.log(error.fast / error.plain));
      expect(Math.exp(mean(logarithms))).toBeLessThan(1.1);
    },
    600_000,
  );
});
