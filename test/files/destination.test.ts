/** Where an atomic write goes, and what it keeps of the file that it replaces. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { Ddpm, imageFolder } from '../../lib';
import { writeFileAtomic } from '../../lib/files/atomic';
import { Images } from '../../lib/images';
import { failure, temporaryFolder } from '../helpers/folder';
import { small } from '../model/models';

const folder = temporaryFolder();
const onUnix = process.platform === 'win32' ? test.skip : test;

const write = (path: string, text = 'new') => writeFileAtomic(path, (file) => file.writeFile(text));
const modeOf = (path: string) => statSync(path).mode & 0o777;

/** Eight pixels by eight, grey. */
const pictures = (count: number) =>
  new Images({ data: new Uint8Array(count * 64), count, height: 8, width: 8, channels: 1, seed: 0 });

describe('links', () => {
  /** A folder with a file, and one with a link to it. */
  function linked(target: string): { link: string; file: string } {
    for (const name of ['here', 'there']) mkdirSync(join(folder(), name));
    const link = join(folder(), 'here', 'link');
    symlinkSync(target, link);
    return { link, file: join(folder(), 'there', 'file') };
  }

  onUnix.each(['../there/file', 'absolute'])('stay, and what they lead to is replaced: %s', async (target) => {
    const { link, file } = linked(target === 'absolute' ? join(folder(), 'there', 'file') : target);
    writeFileSync(file, 'old');
    await write(link);
    expect([lstatSync(link).isSymbolicLink(), readFileSync(file, 'utf8')]).toEqual([true, 'new']);
    expect([readdirSync(join(folder(), 'here')), readdirSync(join(folder(), 'there'))]).toEqual([['link'], ['file']]);
  });

  onUnix('stay where they lead to nothing yet, also by way of another', async () => {
    const { link, file } = linked('../there/second');
    symlinkSync('file', join(folder(), 'there', 'second'));
    await write(link);
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(readlinkSync(link)).toBe('../there/second');
  });

  onUnix('below a folder that is a link itself', async () => {
    const { file } = linked('../there/file');
    mkdirSync(join(folder(), 'far', 'deep'), { recursive: true });
    symlinkSync(join(folder(), 'far', 'deep'), join(folder(), 'way'));
    symlinkSync('../../there/file', join(folder(), 'far', 'deep', 'link'));
    await write(join(folder(), 'way', 'link'));
    expect(readFileSync(file, 'utf8')).toBe('new');
  });

  onUnix('that lead in a circle, or to a folder that is not there, are errors and stay', async () => {
    const { link } = linked('../here/link');
    expect(await failure(write(link), 'ERR_IO')).toMatch(/ELOOP/);
    expect(readlinkSync(link)).toBe('../here/link');
    symlinkSync('../nowhere/file', join(folder(), 'here', 'lost'));
    expect(await failure(write(join(folder(), 'here', 'lost')), 'ERR_IO')).toMatch(/ENOENT/);
    expect(readdirSync(join(folder(), 'here')).sort()).toEqual(['link', 'lost']);
  });

  onUnix('of pictures and cache files', async () => {
    mkdirSync(join(folder(), 'disk'));
    symlinkSync('disk/a.png', join(folder(), 'a.png'));
    symlinkSync('disk/cache', join(folder(), 'cache'));
    await pictures(1).save(join(folder(), 'a.png'));
    const dataset = await imageFolder(join(folder(), 'disk'), {
      size: 8,
      channels: 1,
      cacheFile: join(folder(), 'cache'),
    });
    expect(dataset.count).toBe(1);
    expect(readdirSync(join(folder(), 'disk')).sort()).toEqual(['a.png', 'cache']);
  });
});

describe('the mode', () => {
  onUnix.each([0o600, 0o640, 0o666, 0o444, 0o755])('%o is kept, whatever the umask', async (mode) => {
    const path = join(folder(), 'file');
    writeFileSync(path, 'old');
    chmodSync(path, mode);
    const before = process.umask(0o027);
    try {
      await write(path);
    } finally {
      process.umask(before);
    }
    expect([modeOf(path).toString(8), readFileSync(path, 'utf8')]).toEqual([mode.toString(8), 'new']);
  });

  onUnix('of a saved model, file by file, is kept by the next save', async () => {
    await using ddpm = new Ddpm(small);
    const path = join(folder(), 'model');
    await ddpm.save(path);
    const files = ['model_index.json', 'unet/diffusion_pytorch_model.safetensors', 'ddpm_node.json'];
    for (const [i, mode] of [0o600, 0o660, 0o604].entries()) chmodSync(join(path, files[i]), mode);
    await ddpm.save(path);
    expect(files.map((file) => modeOf(join(path, file)).toString(8))).toEqual(['600', '660', '604']);
  });

  const asRoot = process.getuid?.() === 0 ? test : test.skip;
  asRoot('and the owner, where root writes (only as root)', async () => {
    const path = join(folder(), 'file');
    writeFileSync(path, 'old');
    chmodSync(path, 0o640);
    chownSync(path, 1234, 2345);
    await write(path);
    const { uid, gid } = statSync(path);
    expect([uid, gid, modeOf(path)]).toEqual([1234, 2345, 0o640]);
  });
});

describe('what is no plain file', () => {
  onUnix('a pipe', async () => {
    const path = join(folder(), 'pipe');
    execFileSync('mkfifo', [path]);
    expect(await failure(write(path), 'ERR_IO')).toBe(`${path}: could not be written: it is no plain file`);
    expect(statSync(path).isFIFO()).toBe(true);
  });

  test('a folder', async () => {
    expect(await failure(write(folder()), 'ERR_IO')).toBe(`${folder()}: could not be written: it is no plain file`);
    expect(readdirSync(folder())).toEqual([]);
  });
});

describe('long names', () => {
  test.each([238, 239, 240, 254, 255])('%d bytes', async (length) => {
    const path = join(folder(), 'n'.repeat(length));
    await write(path, 'old');
    await write(path);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(folder())).toEqual([basename(path)]);
  });

  test('of letters that take several bytes, of pictures, cache files and folders of models', async () => {
    const name = (suffix: string) => `${'é'.repeat(120)}${'n'.repeat(15 - suffix.length)}${suffix}`;
    expect(Buffer.byteLength(name('.png'))).toBe(255);
    const [file] = await pictures(1).save(join(folder(), name('.png')));
    const cacheFile = join(folder(), name(''));
    await imageFolder(folder(), { size: 8, channels: 1, cacheFile });
    await using ddpm = new Ddpm(small);
    const model = join(folder(), name('m'));
    await ddpm.save(model);
    await (await Ddpm.load(model)).dispose();
    expect(readdirSync(folder()).sort()).toEqual([basename(file), basename(cacheFile), basename(model)].sort());
  });

  test('that are too long for the file system are told', async () => {
    const path = join(folder(), 'n'.repeat(256));
    expect(await failure(write(path), 'ERR_IO')).toMatch(/ENAMETOOLONG/);
    expect(readdirSync(folder())).toEqual([]);
  });
});
