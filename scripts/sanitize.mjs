// Builds the addon a second time, with address and undefined-behaviour sanitizers in our own code (LibTorch is as it
// comes), and runs the tests with it. A report of a sanitizer fails the run, also where the process that gave it is a
// child of a test. For Linux and GCC.
//
//   npm run test:sanitize                                           the tests
//   npm run test:sanitize -- node scripts/stress.mjs --repeats 10   any other command
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { buildAddon } from './setup/addon.mjs';
import { execute } from './setup/command.mjs';
import { packageRoot } from './setup/package.mjs';
import { run, SetupError } from './setup/report.mjs';

/** Tests that measure what sanitizers change. */
const excluded = [
  // Freed memory is kept back for a time, so that its use is noticed.
  'test/lifecycle/memory.test.ts',
  // Everything takes several times as long.
  'test/lifecycle/eventLoop.test.ts',
  // It sets a limit to the address space, of which the address sanitizer takes terabytes.
  'test/lifecycle/outOfMemory.test.ts',
];

const jest = [
  process.execPath,
  createRequire(import.meta.url).resolve('jest/bin/jest'),
  '--testTimeout=600000',
  ...excluded.map((file) => `--testPathIgnorePatterns=${file}`),
];

await run(async () => {
  const preloaded = await sanitizerLibraries(process.env.CXX ?? 'c++');
  const addon = await buildAddon({ sanitize: true, werror: true });
  const reports = mkdtempSync(join(tmpdir(), 'ddpm-sanitizers-'));
  try {
    const command = process.argv.length > 2 ? process.argv.slice(2) : jest;
    const env = { ...process.env, ...sanitized(addon, preloaded, reports) };
    await requireLoaded([addon, ...preloaded], env);
    const ended = await finished(command, env);
    const files = readdirSync(reports);
    for (const file of files) console.error(`\n${readFileSync(join(reports, file), 'utf8')}`);
    if (files.length > 0) throw new SetupError(`sanitizers: ${files.length} processes gave a report`);
    if (ended !== 'code 0')
      throw new SetupError(`${command.join(' ')} ended with ${ended}; no sanitizer gave a report`);
    console.log('ddpm-node: no sanitizer gave a report');
  } finally {
    rmSync(reports, { recursive: true });
  }
});

/**
 * What a process must have loaded before anything else, to be able to load the addon: the sanitizer, which takes the
 * place of malloc, and the library whose throwing of exceptions it watches.
 *
 * @param {string} compiler
 */
async function sanitizerLibraries(compiler) {
  const libraries = [];
  for (const name of ['libasan.so', 'libstdc++.so.6']) {
    const { stdout, why } = await execute(compiler, [`-print-file-name=${name}`]);
    // A compiler that does not have a file repeats its name.
    if (!isAbsolute(stdout.trim())) {
      throw new SetupError(`the sanitizers need GCC on Linux: ${compiler} has no ${name}${why && ` (${why})`}`);
    }
    libraries.push(stdout.trim());
  }
  return libraries;
}

/**
 * The environment that child processes hand on.
 *
 * @param {string} addon
 * @param {string[]} preloaded
 * @param {string} reports a folder for the reports, a file a process
 * @returns {NodeJS.ProcessEnv}
 */
function sanitized(addon, preloaded, reports) {
  const options = { log_path: join(reports, 'report'), print_stacktrace: 1, halt_on_error: 1 };
  const addressOptions = {
    ...options,
    // Node and LibTorch leave most of their memory to the end of the process, and leaks cannot be looked for in one
    // library alone. test/lifecycle/memory.test.ts looks for ours.
    detect_leaks: 0,
    // GCC 12 gives the frames that this would need too small an alignment for the vectors of our kernels.
    detect_stack_use_after_return: 0,
    strict_string_checks: 1,
    // As without sanitizers, an allocation that is too large fails instead of ending the process.
    allocator_may_return_null: 1,
    // CUDA's driver wants addresses that are kept free otherwise.
    protect_shadow_gap: 0,
  };
  const text = (/** @type {object} */ values) => Object.entries(values).map(([name, value]) => `${name}=${value}`);
  return {
    DDPM_ADDON: addon,
    LD_PRELOAD: preloaded.join(' '),
    ASAN_OPTIONS: text(addressOptions).join(':'),
    UBSAN_OPTIONS: text(options).join(':'),
  };
}

/**
 * Sees that a process of this environment has the sanitizers and the addon that was built with them: no report of another
 * addon would mean nothing.
 *
 * @param {string[]} libraries
 * @param {NodeJS.ProcessEnv} env
 */
async function requireLoaded(libraries, env) {
  const code = `require('.').fromPixels(new Uint8Array(1), { count: 1, height: 1, width: 1, channels: 1 }).then(() =>
    console.log(JSON.stringify(process.report.getReport().sharedObjects)))`;
  const { stdout, why } = await execute(process.execPath, ['-e', code], { cwd: packageRoot, env });
  if (why) throw new SetupError(`sanitizers: the addon does not load: ${why}`);
  /** @type {string[]} */
  const shared = JSON.parse(stdout);
  // Not all that is loaded is a file.
  const loaded = shared.filter((path) => existsSync(path)).map((path) => realpathSync(path));
  const missing = libraries.filter((path) => !loaded.includes(realpathSync(path)));
  if (missing.length > 0) throw new SetupError(`sanitizers: not loaded: ${missing.join(', ')}`);
}

/**
 * @param {string[]} command
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>} how it ended
 */
function finished([program, ...args], env) {
  const child = spawn(program, args, { cwd: packageRoot, env, stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ?? `code ${code}`));
  });
}
