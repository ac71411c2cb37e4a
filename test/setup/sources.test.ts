/** Where LibTorch is looked for: each source against folders, wheels, a stand-in for Python and a server, all local. */

import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { evaluate, fakePython, libtorchFiles, temporaryFolder, torchWheel, writeFiles, zip } from './helpers';

interface Located {
  libtorch?: { root: string; version: string; cuda: boolean };
  error?: string;
  lines?: string[];
}

/** Looks for LibTorch with this environment; downloads can only fail, unless the environment says where from. */
function locate(env: NodeJS.ProcessEnv, { variant = 'cpu', asked = false } = {}): Promise<Located> {
  const program = `{
    const lines = [];
    const say = (line) => lines.push(line);
    const libtorch = await module.locateLibtorch({ variant: '${variant}', asked: ${asked}, env: process.env, say });
    return { libtorch, lines };
  }`;
  return evaluate('libtorch/locate.mjs', program, { PATH: '/nonexistent', DDPM_LIBTORCH_URL: nowhere, ...env });
}

const cpuVersion = '2.13.0';
const cudaVersion = '2.14.1';

/** An archive that is not there. */
const nowhere = 'file:///nonexistent/libtorch.zip';

const library = Object.keys(libtorchFiles(cpuVersion)).find((name) => /torch_cpu/.test(name)) as string;

/** A cache with a finished LibTorch, set up from an archive. */
async function filledCache() {
  const [cache, archive] = [temporaryFolder(), join(temporaryFolder(), 'libtorch.zip')];
  writeFileSync(archive, libtorchArchive());
  const found = await locate({ DDPM_CACHE: cache, DDPM_LIBTORCH_URL: pathToFileURL(archive).href });
  return { cache, root: found.libtorch?.root as string };
}

function libtorchArchive(files = libtorchFiles(cpuVersion)) {
  const entries = { ...files, 'build-version': cpuVersion, 'bin/tool': '' };
  return zip(Object.entries(entries).map(([name, content]) => ({ name: `libtorch/${name}`, content })));
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function serve(listener: RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer(listener);
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const close = () =>
        new Promise<void>((done) => {
          server.closeAllConnections();
          server.close(() => done());
        });
      resolve({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close });
    });
  });
}

describe('LIBTORCH', () => {
  test('is taken where it is complete, also relative to where npm was called', async () => {
    const folder = temporaryFolder();
    const root = writeFiles(join(folder, 'libtorch'), libtorchFiles(cpuVersion));
    expect((await locate({ LIBTORCH: root })).libtorch).toEqual({ root, version: cpuVersion, cuda: false });
    expect((await locate({ LIBTORCH: 'libtorch', INIT_CWD: folder })).libtorch?.root).toBe(root);
  });

  test('that is wrong is an error that says what is missing, and nothing else is tried', async () => {
    const folder = temporaryFolder();
    const { path } = fakePython(temporaryFolder(), { torch: ['/torch/share/cmake', cpuVersion, null] });
    const env = { PATH: path, LIBTORCH: folder };
    const empty = await locate(env);
    expect(empty.error).toMatch(/^LIBTORCH: .* is no complete LibTorch: it has no include\/ATen\/ATen\.h, .*c10/);
    expect(empty.error).not.toContain('\n');

    writeFiles(join(folder, 'libtorch'), libtorchFiles(cpuVersion));
    expect((await locate(env)).error).toContain(`did you mean ${join(folder, 'libtorch')}?`);

    const { [library]: _, ...rest } = libtorchFiles(cpuVersion);
    const lacking = await locate({ LIBTORCH: writeFiles(temporaryFolder(), rest) });
    expect(lacking.error).toMatch(new RegExp(`it has no ${library.replaceAll('.', '\\.')}$`));

    const absent = await locate({ LIBTORCH: join(folder, 'absent') });
    expect(absent.error).toBe(
      `LIBTORCH: expected the folder of a LibTorch, got ${join(folder, 'absent')}, which is no folder`,
    );
  });

  test('without CUDA serves unless CUDA was asked for', async () => {
    const LIBTORCH = writeFiles(temporaryFolder(), libtorchFiles(cudaVersion));
    expect((await locate({ LIBTORCH }, { variant: 'cuda' })).libtorch?.cuda).toBe(false);
    const { error } = await locate({ LIBTORCH }, { variant: 'cuda', asked: true });
    expect(error).toMatch(/is built without CUDA; name one with CUDA, or set DDPM_VARIANT=cpu$/);
    const withCuda = writeFiles(temporaryFolder(), libtorchFiles(cudaVersion, { cuda: true }));
    expect((await locate({ LIBTORCH: withCuda }, { variant: 'cuda', asked: true })).libtorch?.cuda).toBe(true);
  });

  test('of another release is taken, and that is said', async () => {
    const LIBTORCH = writeFiles(temporaryFolder(), libtorchFiles('2.12.1'));
    const { libtorch, lines } = await locate({ LIBTORCH });
    expect(libtorch?.version).toBe('2.12.1');
    expect(lines).toContainEqual(`LIBTORCH is release 2.12.1; this package is tested with ${cpuVersion}`);
  });
});

describe('a LibTorch that was set up before', () => {
  test('is found again', async () => {
    const { cache, root } = await filledCache();
    expect(root).toBe(join(cache, 'ddpm-node', `libtorch-${cpuVersion}-cpu`, 'torch'));
    const { libtorch, lines } = await locate({ DDPM_CACHE: cache });
    expect(libtorch?.root).toBe(root);
    expect(lines?.at(-1)).toBe(`LibTorch ${cpuVersion} from set up before: ${root}`);
  });

  test('does not count when it was not finished, lacks a file or has a library of another size', async () => {
    const { cache, root } = await filledCache();
    const marker = join(root, '..', 'complete.json');
    const finished = readFileSync(marker, 'utf8');
    writeFileSync(marker, '');
    expect((await locate({ DDPM_CACHE: cache })).error).toContain('not finished (no complete.json)');
    writeFileSync(marker, finished);

    truncateSync(join(root, library), 3);
    const size = libtorchFiles(cpuVersion)[library].length;
    expect((await locate({ DDPM_CACHE: cache })).error).toContain(`damaged (torch/${library} has 3 of ${size} bytes)`);

    rmSync(join(root, library));
    expect((await locate({ DDPM_CACHE: cache })).error).toContain(`damaged (no torch/${library})`);
  });

  test('that is damaged is set up again', async () => {
    const { cache, root } = await filledCache();
    truncateSync(join(root, library), 3);
    const archive = join(temporaryFolder(), 'libtorch.zip');
    writeFileSync(archive, libtorchArchive());
    const { libtorch } = await locate({ DDPM_CACHE: cache, DDPM_LIBTORCH_URL: pathToFileURL(archive).href });
    expect(libtorch?.root).toBe(root);
    expect(readFileSync(join(root, library), 'utf8')).toBe(libtorchFiles(cpuVersion)[library]);
  });

  test('removes what a killed one left, but for a download that one may still go on from', async () => {
    const { cache, root } = await filledCache();
    const folder = join(cache, 'ddpm-node');
    mkdirSync(join(folder, '.partial-a'));
    for (const name of ['.download-new.part', '.download-old.part']) writeFileSync(join(folder, name), '');
    const monthAgo = Date.now() / 1000 - 30 * 24 * 60 * 60;
    utimesSync(join(folder, '.download-old.part'), monthAgo, monthAgo);
    rmSync(join(root, library));
    await locate({ DDPM_CACHE: cache });
    expect(readdirSync(folder).sort()).toEqual(['.download-new.part', `libtorch-${cpuVersion}-cpu`]);
  });

  test.each([
    ['linux', { HOME: '/home/me' }, '/home/me/.cache/ddpm-node'],
    ['linux', { HOME: '/home/me', XDG_CACHE_HOME: '/cache' }, '/cache/ddpm-node'],
    ['linux', { HOME: '/home/me', XDG_CACHE_HOME: 'relative' }, '/home/me/.cache/ddpm-node'],
    ['darwin', { HOME: '/Users/me' }, '/Users/me/Library/Caches/ddpm-node'],
    ['win32', { LOCALAPPDATA: '/Users/me/AppData/Local' }, '/Users/me/AppData/Local/ddpm-node'],
    ['linux', { XDG_CACHE_HOME: '/cache', DDPM_CACHE: '/mine' }, '/mine/ddpm-node'],
    ['linux', { INIT_CWD: '/app', DDPM_CACHE: 'mine' }, '/app/mine/ddpm-node'],
  ])('lies on %s with %j in %s', async (platform, env, folder) => {
    expect(await evaluate('libtorch/cache.mjs', `module.cacheFolder(process.env, '${platform}')`, env)).toBe(folder);
  });
});

describe("Python's torch", () => {
  /** A site-packages folder with torch in it, and a Python that imports it. */
  function installed(version: string, cuda: string | null) {
    const root = writeFiles(join(temporaryFolder(), 'torch'), libtorchFiles(version, { cuda: cuda !== null }));
    return { root, ...fakePython(temporaryFolder(), { torch: [join(root, 'share', 'cmake'), version, cuda] }) };
  }

  test('is taken when its release is the pinned one, whatever the patch and the build', async () => {
    const { root, path } = installed('2.13.7+cu130', '13.0');
    const { libtorch } = await locate({ PATH: path, DDPM_CACHE: temporaryFolder() });
    expect(libtorch).toEqual({ root, version: '2.13.7', cuda: true });
  });

  test.each([
    ['cpu', '2.12.0+cpu', null, 'python3: its torch is 2.12.0+cpu, and 2.13 is needed'],
    ['cuda', '2.14.0+cpu', null, 'python3: its torch 2.14.0+cpu is built without CUDA'],
  ])('for %s is refused as %s with CUDA %s', async (variant, version, cuda, why) => {
    const { path } = installed(version, cuda);
    const { error } = await locate({ PATH: path, DDPM_CACHE: temporaryFolder() }, { variant });
    expect(error).toContain(`3. Python's torch: ${why}`);
  });

  test('that is not there, or not whole, is told', async () => {
    const DDPM_CACHE = temporaryFolder();
    const without = fakePython(temporaryFolder(), {});
    expect((await locate({ PATH: without.path, DDPM_CACHE })).error).toContain(
      "python3: ModuleNotFoundError: No module named 'torch'",
    );
    const hollow = fakePython(temporaryFolder(), { torch: ['/nonexistent/torch/share/cmake', cpuVersion, null] });
    expect((await locate({ PATH: hollow.path, DDPM_CACHE })).error).toMatch(
      /python3: \/nonexistent\/torch has no include/,
    );
    expect((await locate({ DDPM_CACHE })).error).toContain('no Python on PATH (looked for python3, python, python3.');
  });
});

describe('pip download', () => {
  const cpuIndex = 'https://download.pytorch.org/whl/cpu';

  /** A Python with pip, that finds a wheel of torch (and others) under `requirement`. */
  function withWheel(
    requirement: string,
    options: { python?: string; wheel?: Buffer; others?: Record<string, string[]> },
  ) {
    const folder = temporaryFolder();
    const wheel = join(folder, 'torch-2.13.0-cp311-cp311-linux_x86_64.whl');
    writeFileSync(wheel, options.wheel ?? torchWheel(`${cpuVersion}+cpu`));
    const wheels = { [requirement]: [wheel], ...options.others };
    return { ...fakePython(folder, { pip: options.python ?? '3.11', wheels }), DDPM_CACHE: temporaryFolder() };
  }

  /** What pip was asked, without the options that are always the same. */
  function asked(log: string): string[] {
    const general = /^-m pip download --only-binary=:all: --no-cache-dir --dest .*?wheels /;
    return readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.replace(general, ''));
  }

  test('unpacks what compiling and running need, and nothing else stays', async () => {
    const { path, log, DDPM_CACHE } = withWheel(`torch==${cpuVersion}+cpu`, {});
    const { libtorch, error } = await locate({ PATH: path, DDPM_CACHE, DDPM_LIBTORCH_URL: '' });
    expect(error).toBeUndefined();
    const folder = join(DDPM_CACHE, 'ddpm-node', `libtorch-${cpuVersion}-cpu`);
    expect(libtorch).toEqual({ root: join(folder, 'torch'), version: cpuVersion, cuda: false });
    expect(asked(log)).toEqual([`--no-deps torch==${cpuVersion}+cpu`]);
    expect(readdirSync(join(DDPM_CACHE, 'ddpm-node'))).toEqual([`libtorch-${cpuVersion}-cpu`]);
    const files = readdirSync(folder, { recursive: true }).map(String);
    expect(files).toEqual(
      expect.arrayContaining([
        'complete.json',
        join('torch', 'share', 'cmake', 'Torch', 'TorchConfig.cmake'),
        join('torch.dist-info', 'licenses', 'third_party', 'fmt', 'LICENSE'),
      ]),
    );
    expect(files.filter((file) => /python|\.py$|shm|test|torchgen/.test(file))).toEqual([]);
  });

  test("asks the user's indexes for the CPU build, then PyTorch's, then for any build", async () => {
    const onlyPlain = withWheel(`torch==${cpuVersion}`, {});
    const { libtorch } = await locate({ PATH: onlyPlain.path, DDPM_CACHE: onlyPlain.DDPM_CACHE });
    expect(libtorch?.version).toBe(cpuVersion);
    expect(asked(onlyPlain.log)).toEqual([
      `--no-deps torch==${cpuVersion}+cpu`,
      `--no-deps torch==${cpuVersion}+cpu --extra-index-url ${cpuIndex}`,
      `--no-deps torch==${cpuVersion}`,
    ]);

    const fromPytorch = withWheel(`torch==${cpuVersion}+cpu from ${cpuIndex}`, {});
    expect((await locate({ PATH: fromPytorch.path, DDPM_CACHE: fromPytorch.DDPM_CACHE })).libtorch).toBeDefined();
    expect(asked(fromPytorch.log)).toHaveLength(2);
  });

  test("takes another Python's wheel where there is none for this one", async () => {
    const { path, log, DDPM_CACHE } = withWheel(`torch==${cpuVersion}+cpu`, { python: '3.8' });
    expect((await locate({ PATH: path, DDPM_CACHE })).libtorch).toBeDefined();
    expect(asked(log)).toEqual([`--python-version 3.10 --no-deps torch==${cpuVersion}+cpu`]);
  });

  test("fetches NVIDIA's libraries that the wheel asks for, and puts them beside torch", async () => {
    const toolkit = 'cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"';
    const nccl = 'nvidia-nccl-cu13==2.30.7; platform_system == "Linux"';
    const folder = temporaryFolder();
    const [meta, cublas, ncclWheel] = ['cuda_toolkit.whl', 'nvidia_cublas.whl', 'nvidia_nccl.whl'].map((name) =>
      join(folder, name),
    );
    writeFileSync(meta, zip([{ name: 'cuda_toolkit-13.0.3.dist-info/METADATA', content: '' }]));
    writeFileSync(
      cublas,
      zip(
        ['lib/libcublas.so.13', 'include/cublas.h', 'bin/tool'].map((name) => ({
          name: `nvidia/cu13/${name}`,
          content: name,
        })),
      ),
    );
    writeFileSync(
      ncclWheel,
      zip(
        ['nvidia/nccl/lib/libnccl.so.2', 'nvidia_nccl_cu13-2.30.7.dist-info/licenses/License.txt'].map((name) => ({
          name,
          content: 'nccl',
        })),
      ),
    );
    const { path, log, DDPM_CACHE } = withWheel(`torch==${cudaVersion}`, {
      wheel: torchWheel(cudaVersion, {
        cuda: true,
        requires: [toolkit, nccl, 'triton~=3.8.0; platform_system == "Linux"'],
      }),
      others: { [toolkit]: [meta, cublas], [nccl]: [ncclWheel] },
    });
    const { libtorch, error } = await locate({ PATH: path, DDPM_CACHE }, { variant: 'cuda' });
    expect(error).toBeUndefined();
    expect(libtorch).toMatchObject({ version: cudaVersion, cuda: true });
    expect(asked(log)).toEqual([`--no-deps torch==${cudaVersion}`, `${toolkit} ${nccl}`]);
    const nvidia = join(libtorch?.root as string, '..', 'nvidia');
    expect(readdirSync(join(nvidia, 'cu13')).sort()).toEqual(['include', 'lib']);
    expect(readFileSync(join(nvidia, 'nccl', 'lib', 'libnccl.so.2'), 'utf8')).toBe('nccl');
    const licence = join(`${nvidia}.dist-info`, 'nvidia_nccl_cu13', 'License.txt');
    expect(readFileSync(licence, 'utf8')).toBe('nccl');
  });

  test('that fails says why for each request, and leaves nothing', async () => {
    const { path, DDPM_CACHE } = withWheel('torch==0', {});
    const { error } = await locate({ PATH: path, DDPM_CACHE });
    expect(error).toContain(
      `python3 -m pip download --no-deps torch==${cpuVersion}+cpu: ERROR: No matching distribution found for torch==${cpuVersion}+cpu\n`,
    );
    expect(error?.match(/No matching distribution/g)).toHaveLength(3);
    expect(readdirSync(join(DDPM_CACHE, 'ddpm-node'))).toEqual([]);
    const withoutPip = fakePython(temporaryFolder(), {});
    expect((await locate({ PATH: withoutPip.path, DDPM_CACHE })).error).toContain(
      "pip download: python3: ModuleNotFoundError: No module named 'pip'",
    );
  });
});

describe('the archive', () => {
  /** The name on a site laid out like PyTorch's; this machine's platform decides. */
  const isArchive = (url: string | undefined) => /^\/(libtorch|whl)\/cpu\/.*2\.13\.0.*\.(zip|whl)$/.test(url ?? '');

  test('comes from a mirror, by way of redirects, and goes before pip when it is named', async () => {
    const { path, log } = fakePython(temporaryFolder(), { pip: '3.11' });
    const site = await serve((request, response) => {
      if (isArchive(request.url)) return response.writeHead(302, { location: '/moved' }).end();
      if (request.url === '/moved') return response.end(libtorchArchive());
      response.writeHead(404).end();
    });
    const DDPM_CACHE = temporaryFolder();
    const DDPM_LIBTORCH_SHA256 = sha256(libtorchArchive());
    const env = { PATH: path, DDPM_CACHE, DDPM_LIBTORCH_URL: site.url, DDPM_LIBTORCH_SHA256 };
    const { libtorch, error, lines } = await locate(env);
    await site.close();
    expect(error).toBeUndefined();
    expect(libtorch?.root).toBe(join(DDPM_CACHE, 'ddpm-node', `libtorch-${cpuVersion}-cpu`, 'torch'));
    expect(lines).toContainEqual(expect.stringMatching(/^100 % of 0\.0 MB$/));
    expect(readdirSync(libtorch?.root as string).sort()).toEqual(['include', 'lib']);
    expect(existsSync(log)).toBe(false);
  });

  test.each<[string, RequestListener, RegExp]>([
    ['is not there', (_, response) => response.writeHead(404).end(), /HTTP 404 Not Found/],
    [
      'stops half-way',
      (_, response) => {
        response.writeHead(200, { 'content-length': 1000 });
        response.write('x'.repeat(100), () => response.destroy());
      },
      /the connection broke after 100 of 1000 bytes/,
    ],
    ['is no zip', (_, response) => response.end('<html>Sign in to the network</html>'), /end of central directory/i],
    [
      'goes round in circles',
      (_, response) => response.writeHead(301, { location: '/a' }).end(),
      /more than 5 redirects/,
    ],
    [
      'is damaged',
      (_, response) => response.end(zip([{ name: 'libtorch/lib/a', content: 'a', crc: 1 }])),
      /libtorch\/lib\/a is damaged/,
    ],
    [
      'is something else',
      (_, response) => response.end(zip([{ name: 'a', content: 'a' }])),
      /what was unpacked is no LibTorch that serves/,
    ],
  ])('that %s is told, and nothing of it is taken', async (_, listener, why) => {
    const site = await serve(listener);
    const DDPM_CACHE = temporaryFolder();
    const { error } = await locate({ DDPM_CACHE, DDPM_LIBTORCH_URL: `${site.url}/libtorch.zip` });
    await site.close();
    expect(error).toMatch(new RegExp(`4\\. archive: ${site.url}/libtorch\\.zip: .*${why.source}`, 'i'));
    const left = readdirSync(join(DDPM_CACHE, 'ddpm-node'));
    expect(left.filter((name) => !name.startsWith('.download-libtorch.zip.part'))).toEqual([]);
  });

  test('is refused where DDPM_LIBTORCH_URL is no URL', async () => {
    const { error } = await locate({ DDPM_CACHE: temporaryFolder(), DDPM_LIBTORCH_URL: '/home/me/libtorch.zip' });
    expect(error).toContain(
      "DDPM_LIBTORCH_URL: expected an https://, http:// or file:// URL, got '/home/me/libtorch.zip'",
    );
  });

  test('is set up once and whole by two that come at the same time', async () => {
    const DDPM_CACHE = temporaryFolder();
    const archive = join(temporaryFolder(), 'libtorch.zip');
    writeFileSync(archive, libtorchArchive());
    const env = { DDPM_CACHE, DDPM_LIBTORCH_URL: pathToFileURL(archive).href };
    const both = await Promise.all([locate(env), locate(env)]);
    expect(both.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(readdirSync(join(DDPM_CACHE, 'ddpm-node'))).toEqual([`libtorch-${cpuVersion}-cpu`]);
  });
});

test('when all fail, the error lists every place in its order, what happened there, and what to do', async () => {
  const DDPM_CACHE = temporaryFolder();
  const { path } = fakePython(temporaryFolder(), { pip: '3.11', torch: ['/torch/share/cmake', '2.1.0', null] });
  const { error } = await locate({ PATH: path, DDPM_CACHE }, { variant: 'cuda', asked: true });
  const lines = (error as string).split('\n');
  expect(lines[0]).toBe(
    `LibTorch ${cudaVersion} (cuda) was not found and could not be set up in ${join(DDPM_CACHE, 'ddpm-node', `libtorch-${cudaVersion}-cuda`)}. Tried, in this order:`,
  );
  expect(lines.filter((line) => /^ {2}\d\. /.test(line)).map((line) => line.replace(/: .*/, ''))).toEqual([
    '  1. DDPM_LIBTORCH',
    '  2. set up before',
    "  3. Python's torch",
    '  4. archive',
    '  5. pip download',
  ]);
  expect(error).toContain('Do one of these, then run npm run build:');
  expect(error).toContain('name its folder in DDPM_LIBTORCH');
  expect(error).toContain('DDPM_LIBTORCH_URL');
  expect(error).toContain('set DDPM_VARIANT=cpu');
});

test('a cache that cannot be written is told, with DDPM_CACHE as the way out', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const { error } = await locate({ DDPM_CACHE: file });
  expect(error).toContain(
    `the cache ${join(file, 'ddpm-node')} cannot be made (ENOTDIR); name a folder that can be written in DDPM_CACHE`,
  );
});
