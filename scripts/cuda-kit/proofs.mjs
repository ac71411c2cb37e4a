/** The proofs: the package's own tests, with its models on the card. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/**
 * @typedef {object} Proof
 * @property {string} name
 * @property {string[]} tests Patterns of files.
 * @property {Record<string, string>[]} [runs] Environments of runs side by side; one without anything where left out.
 *
 * @typedef {object} Context
 * @property {string} root
 * @property {string} out
 * @property {string} work
 * @property {boolean} cuda
 * @property {() => number} left
 * @property {(line: string) => void} say
 * @property {(name: string, program: string, args: string[], env?: NodeJS.ProcessEnv) => Promise<number | null>} logged
 * @property {import('./environment.mjs').PyTorch | undefined} pytorch
 */

/**
 * The most important first.
 *
 * @param {boolean} cuda
 * @returns {Proof[]}
 */
export function proofs(cuda) {
  // On a card each new shape has cuDNN plan anew, which takes long and one core.
  const networks = cuda ? 12 : 3;
  const shards = cuda ? 6 : 1;
  const fastPaths = Array.from({ length: shards }, (_, i) => ({
    DDPM_FAST_PATH_FIRST: String((i * networks) / shards),
    DDPM_FAST_PATH_CASES: String(networks / shards),
  }));
  return [
    { name: 'card', tests: ['test/cuda/(?!memory|emulated)'] },
    { name: 'reference', tests: ['test/reference'] },
    { name: 'model', tests: cuda ? ['test/model', 'test/lifecycle/(states|abort)'] : ['test/model/guard'] },
    { name: 'memory', tests: ['test/cuda/memory'] },
    { name: 'fast paths', tests: ['test/fastPaths/equality'], runs: fastPaths },
    // The kernels compiled for the CPU, and faults in them: where no card shows them.
    { name: 'emulated', tests: ['test/cuda/emulated'] },
  ].filter(({ name }) => name !== (cuda ? 'emulated' : 'memory'));
}

/**
 * @param {Context} context
 * @param {Proof} proof
 */
export async function runTests({ root, out, cuda, logged }, { name, tests, runs = [{}] }) {
  const config = join(root, 'jest.kit.json');
  writeFileSync(
    config,
    JSON.stringify({
      rootDir: root,
      cacheDirectory: join(root, 'jest-cache'),
      testMatch: ['**/*.test.js'],
      transform: {},
      testTimeout: 120_000,
    }),
  );
  const workers = Math.max(1, Math.min(8, Math.floor(cpus().length / 2 / runs.length)));
  const ended = await Promise.all(
    runs.map(async (env, i) => {
      const file = `${name.replaceAll(' ', '-')}${runs.length > 1 ? `-${i}` : ''}`;
      const report = join(out, `${file}.json`);
      const jest = [join(root, 'node_modules', 'jest', 'bin', 'jest.js'), '--config', config];
      const flags = ['--json', '--outputFile', report, '--maxWorkers', String(workers)];
      const common = { DDPM_TEST_DEVICE: cuda ? 'cuda' : 'cpu', GOMP_SPINCOUNT: '1000', OMP_NUM_THREADS: '1' };
      await logged(file, process.execPath, [...jest, ...flags, ...tests], { ...env, ...common });
      return existsSync(report) ? summary(JSON.parse(readFileSync(report, 'utf8'))) : unended(file);
    }),
  );
  const sum = (/** @type {'passed' | 'failed' | 'skipped'} */ key) => ended.reduce((total, one) => total + one[key], 0);
  const failures = ended.flatMap((one) => one.failures);
  const [passed, failed, skipped] = [sum('passed'), sum('failed'), sum('skipped')];
  return {
    status: failures.length === 0 && passed > 0 ? /** @type {const} */ ('passed') : /** @type {const} */ ('failed'),
    why: `${passed} passed, ${failed} failed, ${skipped} skipped${failures.map(({ test }) => `\n         ${test}`).join('')}`,
    passed,
    failed,
    skipped,
    failures,
  };
}

/** @param {string} file */
function unended(file) {
  return { passed: 0, failed: 1, skipped: 0, failures: [{ test: `${file}: it did not end`, message: '' }] };
}

/** @param {any} report Jest's */
function summary(report) {
  const { numPassedTests: passed, numPendingTests: skipped } = report;
  /** @type {{ test: string, message: string }[]} */
  const failures = [];
  for (const { name, message, assertionResults } of report.testResults) {
    const wrong = assertionResults.filter((/** @type {any} */ one) => one.status === 'failed');
    for (const one of wrong) {
      failures.push({ test: one.fullName, message: one.failureMessages.join('\n').slice(0, 1500) });
    }
    // A file that could not be run.
    if (assertionResults.length === 0) failures.push({ test: name, message: message.slice(0, 1500) });
  }
  return { passed, failed: failures.length, skipped, failures };
}
