/** The kit for machines with a card: packed, and run without one, in an environment that knows nothing of this checkout. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const root = join(__dirname, '..', '..');
const addon = join(root, 'build', 'Release', 'ddpm.node');

const has = (program: string) =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
const here =
  process.platform === 'linux' && process.arch === 'x64' && existsSync(addon) && ['xz', 'strip', 'python3'].every(has);

(here ? describe : describe.skip)('the kit', () => {
  let folder: string;
  beforeAll(async () => {
    folder = join(mkdtempSync(join(tmpdir(), 'ddpm-kit-test-')), 'a path with spaces');
    mkdirSync(folder);
    await execute(process.execPath, [join(root, 'scripts', 'cuda-kit.mjs'), '--fast', '--out', join(folder, 'kit')]);
  }, 180_000);
  afterAll(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

  /** Runs it there, with as much of the environment as programs are found by. */
  async function run(args: string[], env: Record<string, string>) {
    const out = join(folder, 'results');
    rmSync(out, { recursive: true, force: true });
    const home = join(folder, 'home');
    const temporary = join(folder, 'temporary');
    for (const one of [home, temporary]) mkdirSync(one, { recursive: true });
    const { PATH = '' } = process.env;
    const { code, stdout } = await execute('bash', [join(folder, 'kit', 'run.sh'), '--out', out, ...args], {
      cwd: home,
      env: { PATH, HOME: home, TMPDIR: temporary, ...env },
    }).then(
      (ended) => ({ ...ended, code: 0 }),
      (error) => error as { code: number; stdout: string },
    );
    expect(readdirSync(temporary)).toEqual([]);
    return { code, stdout, results: JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) };
  }

  test('is one archive and a script', () => {
    expect(readdirSync(join(folder, 'kit')).sort()).toEqual(['kit.tar', 'run.sh']);
  });

  test('--cpu proves and measures the same on small sizes', async () => {
    // All but what the tests around this one do themselves.
    const only = 'card,reference,model,agreement,speed,sampling,start';
    const { code, stdout, results } = await run(['--cpu', '--only', only], { DDPM_ADDON: addon });
    const statuses = Object.entries<{ status: string }>(results.parts).map(([name, { status }]) => [name, status]);
    // Without PyTorch there is nobody to agree with.
    const agreement = results.versions.pytorch.startsWith('none') ? 'skipped' : 'passed';
    expect(Object.fromEntries(statuses)).toEqual({
      build: 'passed',
      card: 'passed',
      reference: 'passed',
      model: 'passed',
      save: 'passed',
      agreement,
      speed: 'passed',
      sampling: 'passed',
      start: 'passed',
    });
    expect(code).toBe(0);
    expect(results.parts.reference.passed).toBeGreaterThan(50);
    expect(results.rows.length).toBeGreaterThan(5);
    expect(stdout).toMatch(/ {2}reference +passed +\d+\.\d s {2}\d+ passed, 0 failed\n/);
    expect(stdout).toMatch(/ {2}training step, tiny, batch 4, bfloat16 +\d/);
  }, 480_000);

  test('what fails is told, kept and in the exit code', async () => {
    const missing = join(folder, 'no-addon.node');
    const { code, results } = await run(['--cpu', '--only', 'card,sampling'], { DDPM_ADDON: missing });
    expect(code).toBe(1);
    expect(results.parts.card.status).toBe('failed');
    expect(JSON.stringify(results.parts.card.failures)).toContain('no-addon.node');
  }, 120_000);

  test('a part for which no time is left is skipped, and what was done is kept', async () => {
    const { results } = await run(['--cpu', '--seconds', '1', '--only', 'card'], { DDPM_ADDON: addon });
    expect(results.parts.build.status).toBe('skipped');
  }, 120_000);
});
