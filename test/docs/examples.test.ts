/**
 * The programs of the documentation: all are type-checked against `lib/`, those in JavaScript run as written, in a folder
 * with the files that they read, but for their steps, which are few. A code block that imports nothing goes on from the
 * one above it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { codeBlocks, pages, root } from './markdown';

interface Program {
  /** A file name. */
  name: string;
  code: string;
}

const extensions: Record<string, string> = { js: '.mjs', ts: '.mts' };

const programs = pages.flatMap(programsOf);
const scripts = programs.filter(({ name }) => name.endsWith('.mjs'));
const services = scripts.filter(({ code }) => code.includes('createServer'));

function programsOf(page: string): Program[] {
  const found: Program[] = [];
  for (const { language, code } of codeBlocks(page)) {
    const extension = extensions[language];
    if (extension === undefined) continue;
    if (/^import /m.test(code)) found.push({ name: `${basename(page, '.md')}-${found.length + 1}${extension}`, code });
    else found[found.length - 1].code += code;
  }
  return found;
}

/** Steps by the thousand become a few. */
function quick(code: string): string {
  return code.replace(/\b((?:steps|timesteps)(?:: | = ))([\d_]+)/g, (_, name: string, count: string) => {
    return name + Math.max(2, Math.round(Number(count.replaceAll('_', '')) / 2500));
  });
}

/** One thread: other tests run beside, and threads of small networks would mostly wait for each other. */
const env = { ...process.env, OMP_NUM_THREADS: '1' };

let folder: string;
let running: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ddpm-docs-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules', 'ddpm-node'), 'junction');
  cpSync(join(root, 'test/fixtures/reference/unet/ho-rgb-32'), join(folder, 'model'), { recursive: true });
  for (const place of ['photos', 'pets/cat', 'pets/dog']) await writePictures(join(folder, place));
  writeArchives();
});

afterEach(() => {
  running?.kill();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function writePictures(place: string): Promise<void> {
  mkdirSync(place, { recursive: true });
  for (let i = 0; i < 3; i++) {
    const background = { r: 80 * i, g: 200 - 60 * i, b: 120 };
    await sharp({ create: { width: 48, height: 40 + i, channels: 3, background } })
      .png()
      .toFile(join(place, `${i}.png`));
  }
}

/** Two images of MNIST's format, and two of CIFAR-10's. */
function writeArchives(): void {
  const mnist = join(folder, 'mnist');
  mkdirSync(mnist);
  const header = Buffer.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]);
  writeFileSync(join(mnist, 'train-images-idx3-ubyte'), Buffer.concat([header, Buffer.alloc(2 * 28 * 28, 50)]));
  writeFileSync(join(mnist, 'train-labels-idx1-ubyte'), Buffer.from([0, 0, 8, 1, 0, 0, 0, 2, 3, 7]));

  const cifar = join(folder, 'cifar-10-batches-bin');
  mkdirSync(cifar);
  writeFileSync(join(cifar, 'data_batch_1.bin'), Buffer.alloc(2 * 3073, 5));
}

test('the pages hold programs', () => {
  expect(services).toHaveLength(1);
  expect(scripts.length).toBeGreaterThan(services.length);
  expect(programs.length).toBeGreaterThan(scripts.length);
});

test('all are rightly typed', async () => {
  const sources = join(folder, 'sources');
  mkdirSync(sources);
  for (const { name, code } of programs) writeFileSync(join(sources, name), code);
  const compilerOptions = {
    target: 'ES2022',
    lib: ['ES2022', 'ESNext.Disposable'],
    module: 'Node16',
    moduleResolution: 'Node16',
    paths: { 'ddpm-node': [join(root, 'lib/index.ts')] },
    typeRoots: [join(root, 'node_modules/@types')],
    types: ['node'],
    strict: true,
    allowJs: true,
    checkJs: true,
    skipLibCheck: true,
    noEmit: true,
    // As in lib/, which is compiled along.
    esModuleInterop: true,
  };
  writeFileSync(join(sources, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*'] }));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = await execute([tsc, '-p', sources]);
  expect(stdout).toBe('');
});

test.each(scripts.filter((program) => !services.includes(program)))('$name runs', async ({ name, code }) => {
  writeFileSync(join(folder, name), quick(code));
  // That a chain of so few steps does not end in noise is told, and is right.
  const { code: exitCode, stderr } = await execute(['--disable-warning=DDPM_SIGNAL_LEFT', name]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});

test.each(services)('$name serves pictures, also after a client has left', async ({ name, code }) => {
  writeFileSync(join(folder, name), code);
  const server = spawn(process.execPath, [name], { cwd: folder, env: { ...env, PORT: '0' } });
  running = server;
  const port = await portOf(server);
  const url = `http://localhost:${port}/`;

  const impatient = new AbortController();
  const left = fetch(url, { signal: impatient.signal });
  setTimeout(() => impatient.abort(), 100);
  await expect(left).rejects.toThrow('abort');

  const response = await fetch(url);
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/png']);
  const { format, width, height } = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
  expect({ format, width, height }).toEqual({ format: 'png', width: 32, height: 32 });
});

test('the first program leaves what it says', () => {
  expect(existsSync(join(folder, 'grid.png'))).toBe(true);
  expect(existsSync(join(folder, 'model/ddpm_node.json'))).toBe(true);
});

async function execute(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, args, { cwd: folder, env })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** The port that the server prints. */
async function portOf(server: ChildProcess): Promise<string> {
  let printed = '';
  return new Promise((resolve, reject) => {
    const look = (text: string) => {
      printed += text;
      const port = /port: (\d+)/.exec(printed)?.[1];
      if (port !== undefined) resolve(port);
    };
    server.stdout?.setEncoding('utf8').on('data', look);
    server.stderr?.setEncoding('utf8').on('data', look);
    server.on('exit', () => reject(new Error(printed)));
  });
}
