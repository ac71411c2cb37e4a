import { evaluate } from './helpers';

/** What is said of a machine; null when it will do. `glibc`: null for a system without. */
function judge(
  host: { node?: string; platform?: string; arch?: string; ownLibtorch?: boolean },
  glibc?: string | null,
) {
  const report = `() => ({ header: ${JSON.stringify(glibc ? { glibcVersionRuntime: glibc } : {})} })`;
  const full = JSON.stringify({ node: 'v20.0.0', platform: 'linux', arch: 'x64', ...host });
  return evaluate<string | null>('setup/platform.mjs', `module.platformProblem({ ...${full}, report: ${report} })`);
}

test.each([
  [{}, '2.28'],
  [{}, '3.0'],
  [{ arch: 'arm64' }, '2.36'],
  [{ node: 'v26.1.0' }, '2.36'],
  [{ platform: 'darwin', arch: 'arm64' }, null],
  [{ platform: 'win32' }, null],
  // Whoever built LibTorch for this system knows what runs there.
  [{ ownLibtorch: true }, null],
  [{ ownLibtorch: true, arch: 'riscv64' }, '2.17'],
])('%j with glibc %s will do', async (host, glibc) => {
  expect(await judge(host, glibc)).toBeNull();
});

test.each([
  [{ node: 'v18.19.1' }, '2.36', /^Node 20 or newer is needed, and this is v18\.19\.1; install a newer Node/],
  [{ node: 'v9.0.0', ownLibtorch: true }, '2.36', /^Node 20 or newer is needed/],
  [{}, null, /^this system has no glibc \(Alpine and others use musl\).*use a system with glibc/],
  [{}, '2.17', /^LibTorch needs glibc 2\.28 or newer, and this system has 2\.17; use Debian 10/],
  [{}, '2.9', /^LibTorch needs glibc 2\.28 or newer/],
  [{ arch: 'ia32' }, '2.36', /^there is no LibTorch for linux-ia32 .* name its folder in DDPM_LIBTORCH/],
  [{ platform: 'darwin' }, null, /^there is no LibTorch for darwin-x64/],
])('%j with glibc %s is told in one line', async (host, glibc, line) => {
  const said = await judge(host, glibc);
  expect(said).toMatch(line);
  expect(said).not.toContain('\n');
});

test('the machine that runs this will do', async () => {
  expect(await evaluate('setup/platform.mjs', 'module.platformProblem()')).toBeNull();
});
