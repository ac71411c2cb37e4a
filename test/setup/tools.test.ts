import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, temporaryFolder, writeFiles } from './helpers';

/** A folder for PATH with programs that print a line each. */
function programs(lines: Record<string, string>): string {
  const folder = temporaryFolder();
  for (const [name, line] of Object.entries(lines)) {
    writeFiles(folder, { [name]: `#!${process.execPath}\nconsole.log(${JSON.stringify(line)});\n` });
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

const cmake = 'cmake version 3.25.1';

test.each([
  [{}, /CMake 3\.18 or newer, and it is not on PATH; install it with .*install .*cmake/],
  [{ cmake: 'cmake version 3.9.2', 'g++': '', ninja: '' }, /CMake 3\.18 or newer, and this is 3\.9; install it with/],
  [{ cmake, ninja: '' }, /a C\+\+20 compiler, and neither g\+\+ nor clang\+\+ is on PATH; install it with \S+/],
  [{ cmake, 'clang++': '' }, /Ninja or make, and neither is on PATH; install it with \S+/],
])('with %j what is missing is named, with what installs it', async (found, line) => {
  const { error } = await evaluate<{ error: string }>('setup/tools.mjs', 'module.requireBuildTools(process.env)', {
    PATH: programs(found),
  });
  expect(error).toMatch(line);
  expect(error).toMatch(/then run npm run build\.$/);
  expect(error).not.toContain('\n');
});

test.each([[{ cmake, 'g++': '', ninja: '' }], [{ cmake: 'cmake version 4.0.0', 'clang++': '', make: '' }]])(
  '%j is enough',
  async (found) => {
    const env = { PATH: programs(found) };
    expect(await evaluate('setup/tools.mjs', 'module.requireBuildTools(process.env)', env)).toBeNull();
  },
);

test('for CUDA, nvcc too', async () => {
  const found = { cmake, 'g++': '', ninja: '' };
  const need = (env: NodeJS.ProcessEnv) =>
    evaluate<{ error: string } | null>('setup/tools.mjs', `module.requireBuildTools(process.env, 'cuda')`, env);
  expect((await need({ PATH: programs(found) }))?.error).toMatch(
    /NVIDIA's nvcc for CUDA, and it is neither on PATH nor named in CUDACXX; install it with .* or set DDPM_VARIANT=cpu, then/,
  );
  expect(await need({ PATH: programs({ ...found, nvcc: '' }) })).toBeNull();
  expect(await need({ PATH: programs(found), CUDACXX: join(programs({ nvcc: '' }), 'nvcc') })).toBeNull();
});

describe('the variant', () => {
  const choose = (options: string, env: NodeJS.ProcessEnv = {}) =>
    evaluate('setup/variant.mjs', `module.chooseVariant({ env: process.env, exists: () => false, ${options} })`, env);

  test('is what was asked for, the flag before DDPM_VARIANT', async () => {
    expect(await choose('', { DDPM_VARIANT: 'cuda' })).toEqual({ variant: 'cuda', asked: true });
    expect(await choose(`flag: 'cpu'`, { DDPM_VARIANT: 'cuda' })).toEqual({ variant: 'cpu', asked: true });
  });

  test('is cuda where there are an NVIDIA driver and nvcc, else cpu', async () => {
    expect(await choose('')).toEqual({ variant: 'cpu', asked: false });
    const driver = `exists: (file) => file === '/proc/driver/nvidia/version'`;
    expect(await choose(driver)).toEqual({ variant: 'cpu', asked: false });
    expect(await choose(driver, { PATH: programs({ nvcc: '' }) })).toEqual({ variant: 'cuda', asked: false });
    const withGpu = { PATH: programs({ 'nvidia-smi': 'GPU 0: NVIDIA H100 (UUID: GPU-1)', nvcc: '' }) };
    expect(await choose('', withGpu)).toEqual({ variant: 'cuda', asked: false });
    const withoutGpu = { PATH: programs({ 'nvidia-smi': 'No devices were found', nvcc: '' }), DDPM_VARIANT: '' };
    expect(await choose('', withoutGpu)).toEqual({ variant: 'cpu', asked: false });
  });

  test('that does not exist is refused', async () => {
    expect(await choose('', { DDPM_VARIANT: 'gpu' })).toEqual({
      error: "DDPM_VARIANT: expected 'cpu' or 'cuda', got 'gpu'",
    });
    expect(await choose(`flag: ''`)).toEqual({ error: "--variant: expected 'cpu' or 'cuda', got ''" });
  });
});
