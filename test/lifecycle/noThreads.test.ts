/** Where the system gives no thread: an error that says so, or the end of the process by the OpenMP runtime, in order. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childEnvironment } from './programs';

const programs = join(__dirname, 'programs');
const onLinux = process.platform === 'linux' ? describe : describe.skip;

onLinux('no thread', () => {
  let folder: string;
  let shim: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ddpm-threads-'));
    shim = join(folder, 'noThreads.so');
    execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', '-o', shim, join(programs, 'noThreads.c'), '-ldl']);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function ended(where: string, what: string, library: string) {
    const env = { ...childEnvironment(), LD_PRELOAD: shim, DDPM_TEST_NO_THREADS: library, OMP_NUM_THREADS: '4' };
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      [join(programs, 'noThreads.cjs'), where, what],
      { env, encoding: 'utf8', timeout: 50_000 },
    );
    return { status, signal, stdout, stderr };
  }

  describe.each(['main', 'worker'])('in the %s thread', (where) => {
    test('for a model', () => {
      expect(ended(where, 'model', 'libstdc++')).toEqual({
        status: 0,
        signal: null,
        stdout: expect.stringMatching(/^ERR_NATIVE: The system gave no thread for this work: .*ulimit -u/),
        stderr: '',
      });
    });

    test('for OpenMP: its own message and exit code', () => {
      expect(ended(where, 'training', 'libgomp')).toEqual({
        status: 1,
        signal: null,
        stdout: '',
        stderr: expect.stringContaining('libgomp: Thread creation failed: Resource temporarily unavailable'),
      });
    });
  });
});
