// Networks in tests are tiny, and the tests' own processes fill the cores.
process.env.OMP_NUM_THREADS ??= '1';
// What reads memory that nobody wrote fails, and not by chance.
process.env.DDPM_POISON ??= '1';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  testTimeout: 60_000,
  maxWorkers: 2,
};
