/**
 * The ways that the equality tests compare are different ways: a path that was never taken would equal the plain one
 * always. They add up in other orders, so some bits of what a network says differ.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { savedRandomModel } from '../model/models';
import { caseOf } from './configs';
import { printedBy } from './programs';

const cpu = process.platform === 'linux' && process.arch === 'x64' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const [hasAvx2, hasAvx512] = [/\bavx2\b/, /\bavx512dq\b/].map((flag) => flag.test(cpu));

let folder: string;
let list: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-taken-'));
  list = join(folder, 'list.json');
  const entries = [];
  for (const seed of [0, 1, 2, 3]) {
    const { config, batch, offset } = caseOf(seed);
    const place = join(folder, String(seed));
    await savedRandomModel(place, config, seed + 1);
    entries.push({ folder: place, batch, offset, seed });
  }
  writeFileSync(list, JSON.stringify(entries));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ways: [string, boolean, Record<string, string>, Record<string, string>][] = [
  ['the fast path and the plain one', hasAvx2, {}, { DDPM_PLAIN: '1' }],
  ['AVX2 and the plain path', hasAvx2, { DDPM_CPU_ISA: 'avx2' }, { DDPM_PLAIN: '1' }],
  ['AVX-512 and AVX2', hasAvx512, {}, { DDPM_CPU_ISA: 'avx2' }],
];

for (const [name, isThere, one, other] of ways) {
  const tested = isThere ? test : test.skip;
  tested(isThere ? name : `${name} (skipped: this processor has no such instructions, or does not tell)`, async () => {
    const outputs = (env: Record<string, string>) => printedBy('outputs.cjs', [list, 'float32'], env);
    const [a, b] = await Promise.all([outputs(one), outputs(other)]);
    expect(a === b).toBe(false);
    // And by nothing but that.
    expect((await outputs(one)) === a).toBe(true);
  });
}
