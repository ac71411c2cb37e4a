/** The proofs: the package's own tests, with its models on the card. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/**
 * @typedef {object} Proof
 * @property {string} name
 * @property {string[]} tests Files, or folders of them.
 * @property {Record<string, string>} [env]
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
  const cases = cuda ? '24' : '4';
  return [
    { name: 'card', tests: ['test/cuda/(?!memory)'] },
    { name: 'reference', tests: ['test/reference'] },
    { name: 'fast paths', tests: ['test/fastPaths/equality'], env: { DDPM_FAST_PATH_CASES: cases } },
    {
      name: 'model',
      tests: cuda ? ['test/model', 'test/lifecycle/states', 'test/lifecycle/abort'] : ['test/model/guard'],
    },
  ];
}

/** Takes all of the card's memory. */
export const memoryProof = { name: 'memory', tests: ['test/cuda/memory'] };

/**
 * @param {Context} context
 * @param {Proof} proof
 */
export async function runTests({ root, out, cuda, logged }, { name, tests, env = {} }) {
  const file = name.replaceAll(' ', '-');
  const report = join(out, `${file}.json`);
  const config = join(root, 'jest.kit.json');
  const workers = Math.max(1, Math.min(8, Math.floor(cpus().length / 2)));
  writeFileSync(
    config,
    JSON.stringify({
      rootDir: root,
      testMatch: ['**/*.test.js'],
      transform: {},
      testTimeout: 120_000,
      haste: { forceNodeFilesystemAPI: true },
    }),
  );
  await logged(
    file,
    process.execPath,
    [
      join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
      '--config',
      config,
      '--json',
      '--outputFile',
      report,
      '--maxWorkers',
      String(workers),
      ...tests,
    ],
    { ...env, DDPM_TEST_DEVICE: cuda ? 'cuda' : 'cpu', GOMP_SPINCOUNT: '1000', OMP_NUM_THREADS: '1' },
  );
  if (!existsSync(report)) return { status: /** @type {const} */ ('failed'), why: `it did not end; see ${file}.log` };
  return summary(JSON.parse(readFileSync(report, 'utf8')));
}

/** @param {any} report Jest's */
function summary(report) {
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = report;
  /** @type {{ test: string, message: string }[]} */
  const failures = [];
  for (const { name, message, assertionResults } of report.testResults) {
    const wrong = assertionResults.filter((/** @type {any} */ one) => one.status === 'failed');
    for (const one of wrong)
      failures.push({ test: one.fullName, message: one.failureMessages.join('\n').slice(0, 1500) });
    // A file that could not be run.
    if (wrong.length === 0 && assertionResults.length === 0)
      failures.push({ test: name, message: message.slice(0, 1500) });
  }
  const ok = failures.length === 0 && passed > 0;
  return {
    status: ok ? /** @type {const} */ ('passed') : /** @type {const} */ ('failed'),
    why: `${passed} passed, ${failed} failed, ${skipped} skipped${failures.map(({ test }) => `\n         ${test}`).join('')}`,
    passed,
    failed,
    skipped,
    failures,
  };
}
