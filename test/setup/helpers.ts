/** What the set-up tests share: temporary folders, scripts run as processes, imitations of LibTorch, wheels and Python. */

import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';

/** The repository. */
export const root = join(__dirname, '..', '..');

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder of the test's own, with a space and a letter beyond ASCII in its path; gone when the test file ends. */
export function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ddpm sétup-')));
  folders.push(folder);
  return folder;
}

export interface Finished {
  code: number | string | null;
  stdout: string;
  stderr: string;
}

/** Runs Node with this environment and no other. */
export function runNode(args: string[], env: NodeJS.ProcessEnv, cwd = root): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env, cwd }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? null), stdout, stderr });
    });
  });
}

/**
 * What an expression gives, evaluated in a process of its own after `import * as module from 'scripts/<file>'`. The
 * value must be JSON; a rejection comes back as `{ error }`.
 */
export async function evaluate<T>(file: string, expression: string, env: NodeJS.ProcessEnv = {}): Promise<T> {
  const program = `
    import * as module from ${JSON.stringify(pathToFileURL(join(root, 'scripts', file)).href)};
    const value = await (async () => ${expression})().catch((error) => ({ error: error.message }));
    process.stdout.write('\\n' + JSON.stringify(value ?? null));
  `;
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', program], env);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout.split('\n').at(-1) as string);
}

export interface ZipEntry {
  name: string;
  content: string;
  /** Unix type and permissions. */
  mode?: number;
  /** Recorded instead of the true checksum. */
  crc?: number;
}

/** A zip file's bytes. */
export function zip(entries: ZipEntry[]): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode = 0o100644, crc } of entries) {
    const [nameBytes, bytes] = [Buffer.from(name), Buffer.from(content)];
    const packed = deflateRawSync(bytes);
    // The part that local and central headers share: from "version needed" to the extra field's length.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2); // the name is UTF-8
    common.writeUInt16LE(8, 4); // deflated
    common.writeUInt32LE(crc ?? crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, nameBytes, packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE((mode << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03'), common, tail, nameBytes]));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, directory, Buffer.from('PK\x05\x06'), end]);
}

/** The files that make a folder pass for LibTorch. */
export function libtorchFiles(version: string, { cuda = false } = {}): Record<string, string> {
  const [major, minor, patch] = version.split('.');
  const suffix = { darwin: 'dylib', win32: 'dll' }[process.platform as string] ?? 'so';
  const prefix = process.platform === 'win32' ? '' : 'lib';
  const libraries = ['torch', 'torch_cpu', 'c10', ...(cuda ? ['torch_cuda', 'c10_cuda'] : [])];
  return {
    'include/ATen/ATen.h': '',
    'include/torch/csrc/api/include/torch/torch.h': '',
    'include/torch/headeronly/version.h': [
      `#define TORCH_VERSION_MAJOR ${major}`,
      `#define TORCH_VERSION_MINOR ${minor}`,
      `#define TORCH_VERSION_PATCH ${patch}`,
    ].join('\n'),
    ...Object.fromEntries(libraries.map((name) => [`lib/${prefix}${name}.${suffix}`, `the library ${name}`])),
  };
}

/** Writes files, given relative to `folder`. */
export function writeFiles(folder: string, files: Record<string, string>): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** A wheel of torch, as far as unpacking it goes, with what must be left out. */
export function torchWheel(version: string, { requires = [] as string[], cuda = false } = {}): Buffer {
  const files: Record<string, string> = {
    'torch/__init__.py': 'python',
    'torch/lib/libtorch_python.so': 'for python',
    'torch/lib/libshm.so': 'for python',
    'torch/lib/libtorch_global_deps.so': 'for the linker',
    'torch/share/cmake/Torch/TorchConfig.cmake': 'cmake',
    'torch/test/test.h': 'test',
    'torchgen/gen.py': 'python',
    [`torch-${version}.dist-info/licenses/third_party/fmt/LICENSE`]: 'terms',
    [`torch-${version}.dist-info/METADATA`]: [
      'Metadata-Version: 2.4',
      'Requires-Dist: filelock',
      ...requires.map((requirement) => `Requires-Dist: ${requirement}`),
      'Requires-Dist: nvidia-not-this; extra == "more"',
    ].join('\n'),
  };
  for (const [name, content] of Object.entries(libtorchFiles(version.split('+')[0], { cuda }))) {
    files[`torch/${name}`] = content;
  }
  const mode = (name: string) => (name.includes('/lib/') ? 0o100755 : 0o100644);
  return zip(Object.entries(files).map(([name, content]) => ({ name, content, mode: mode(name) })));
}

export interface FakePython {
  /** `3.11`; absent: it has no pip. */
  pip?: string;
  /** torch.utils.cmake_prefix_path, torch.__version__ and torch.version.cuda; absent: it has no torch. */
  torch?: [string, string, string | null];
  /** What pip can download: wheel files by a requirement, or by a requirement and ` from ` an extra index. */
  wheels?: Record<string, string[]>;
}

/**
 * A folder for PATH with a program called `python3` in it that answers as Python would, and writes what pip is asked to
 * `log`, a line a call.
 */
export function fakePython(folder: string, behaviour: FakePython): { path: string; log: string } {
  const [path, log] = [join(folder, 'bin'), join(folder, 'pip.log')];
  const program = `#!/usr/bin/env node
    const { appendFileSync, copyFileSync, mkdirSync } = require('node:fs');
    const { basename, join } = require('node:path');
    const behaviour = ${JSON.stringify(behaviour)};
    const args = process.argv.slice(2);
    const fail = (line) => { console.error(line); process.exit(1); };
    if (args[0] === '-c' && args[1].includes('import pip')) {
      if (!behaviour.pip) fail("ModuleNotFoundError: No module named 'pip'");
      console.log(behaviour.pip);
    } else if (args[0] === '-c') {
      if (!behaviour.torch) fail("Traceback (most recent call last):\\nModuleNotFoundError: No module named 'torch'");
      console.log(JSON.stringify(behaviour.torch));
    } else {
      appendFileSync(${JSON.stringify(log)}, args.join(' ') + '\\n');
      const valued = ['--dest', '--extra-index-url', '--python-version'];
      const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
      const wanted = args.slice(3).filter((arg, i, rest) => !arg.startsWith('--') && !valued.includes(rest[i - 1]));
      mkdirSync(option('--dest'), { recursive: true });
      for (const requirement of wanted) {
        const index = option('--extra-index-url');
        const files = behaviour.wheels?.[requirement + (index ? ' from ' + index : '')];
        if (!files) fail('ERROR: No matching distribution found for ' + requirement + '\\n\\n[notice] a new pip');
        for (const file of files) copyFileSync(file, join(option('--dest'), basename(file)));
      }
    }
  `;
  writeFiles(path, { python3: program.replace('/usr/bin/env node', process.execPath) });
  chmodSync(join(path, 'python3'), 0o755);
  return { path, log };
}
