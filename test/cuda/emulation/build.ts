/** Our CUDA kernels as programs for the CPU (see cuda_runtime.h beside), from the sources or from changed ones. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const root = join(__dirname, '..', '..', '..');

/** A change of a kernel's source: what stands in a file of native/kernels/cuda, and what to put there instead. */
export interface Change {
  file: string;
  from: string;
  to: string;
}

/** `kernel<T><<<grid, block, 0, stream>>>(arguments)` as a call of the emulation's launcher. */
function withoutLaunches(source: string): string {
  return source.replace(
    /([A-Za-z_]\w*(?:<[\w\s,:]*>)?)\s*<<<([^;]*?)>>>\(/g,
    (_, kernel, how) => `::emulation::launcher(${how}).run([](auto... values) { ${kernel}(values...); }, `,
  );
}

/** A folder of sources that g++ compiles: the kernels, what they include, and the checks. */
function stage(folder: string, change?: Change): string[] {
  const kernels = join(folder, 'kernels');
  cpSync(join(root, 'native', 'kernels'), kernels, {
    recursive: true,
    filter: (file) => !/\/cpu(\/|$)/.test(file) && !/_none\.cc$/.test(file),
  });
  cpSync(join(root, 'native', 'error.h'), join(folder, 'error.h'));
  const cuda = join(kernels, 'cuda');
  if (change !== undefined) {
    const file = join(cuda, change.file);
    const source = readFileSync(file, 'utf8');
    if (source.split(change.from).length !== 2)
      throw new Error(`${change.file} has not one place with: ${change.from}`);
    writeFileSync(
      file,
      source.replace(change.from, () => change.to),
    );
  }
  const sources = readdirSync(cuda)
    .filter((name) => name.endsWith('.cu'))
    .map((name) => {
      const file = join(cuda, `${basename(name, '.cu')}.cc`);
      writeFileSync(file, withoutLaunches(readFileSync(join(cuda, name), 'utf8')));
      return file;
    });
  return [...sources, join(kernels, 'philox.cc'), join(__dirname, 'checks.cc')];
}

const objectOf = (folder: string, source: string) => join(folder, `${basename(source, '.cc')}.o`);

async function compile(folder: string, source: string): Promise<string> {
  const object = objectOf(folder, source);
  const flags = ['-std=c++20', '-O0', '-w', '-I', __dirname, '-I', folder];
  await execute(process.env.CXX || 'g++', [...flags, '-c', source, '-o', object]);
  return object;
}

async function link(folder: string, objects: string[]): Promise<string> {
  const program = join(folder, 'checks');
  await execute(process.env.CXX || 'g++', [...objects, '-o', program]);
  return program;
}

/** The program from the sources as they are. */
export async function build(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const objects: string[] = [];
  for (const source of stage(folder)) objects.push(await compile(folder, source));
  return await link(folder, objects);
}

/**
 * The program with one change.
 *
 * @param built The folder of the program as it is: what does not change is taken from there.
 */
export async function buildChanged(built: string, folder: string, change: Change): Promise<string> {
  mkdirSync(folder, { recursive: true });
  // A header may be part of all of them.
  const changed = (source: string) => !change.file.endsWith('.cu') || change.file === `${basename(source, '.cc')}.cu`;
  const objects: string[] = [];
  for (const source of stage(folder, change)) {
    objects.push(changed(source) ? await compile(folder, source) : objectOf(built, source));
  }
  return await link(folder, objects);
}

/**
 * What the checks say: all lines, and those that are not as they should be.
 *
 * @param checks The name of those to make; all without one.
 */
export async function run(
  program: string,
  order: 'forward' | 'reverse',
  checks: string[] = [],
): Promise<{ lines: string[]; wrong: string[] }> {
  const told = await execute(program, checks, {
    env: { ...process.env, EMULATION_ORDER: order },
    timeout: 60_000,
  }).catch((error) => ({
    stdout: String(error.stdout),
    stderr: `${error.stderr} ${error.signal ?? `exit code ${error.code}`}`,
  }));
  const lines = told.stdout.trim().split('\n');
  const wrong = lines.filter((line) => !line.startsWith('ok '));
  return { lines, wrong: told.stderr.trim() === '' ? wrong : [...wrong, told.stderr.trim()] };
}
