import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DdpmError } from '../../lib/errors';
import { loadAddon } from '../../lib/load';
import { prebuiltAddons } from '../../lib/loading/places';
import { root, temporaryFolder } from './helpers';

/** The addon of this checkout. */
const addon: string = require('node-gyp-build').resolve(root);

const { DDPM_ADDON } = process.env;
beforeEach(() => {
  delete process.env.DDPM_ADDON;
});
afterAll(() => {
  if (DDPM_ADDON !== undefined) process.env.DDPM_ADDON = DDPM_ADDON;
});

/** What loading the addon of a package in `folder` throws. */
function failure(folder: string): DdpmError {
  try {
    loadAddon(folder);
  } catch (error) {
    expect(error).toBeInstanceOf(DdpmError);
    expect(error).toHaveProperty('code', 'ERR_NATIVE_UNAVAILABLE');
    return error as DdpmError;
  }
  throw new Error('it loaded');
}

/** Puts something in the addon's place. */
function built(folder: string, config: string, content: string): string {
  const file = join(folder, 'build', config, 'ddpm.node');
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, content);
  return file;
}

test('an addon that was built is loaded', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true });
  symlinkSync(addon, join(folder, 'build', 'Release', 'ddpm.node'));
  expect(loadAddon(folder)).toHaveProperty('libtorchVersion');
});

test('without one, every place is listed, and the command that builds one', () => {
  const folder = temporaryFolder();
  expect(failure(folder).message.split('\n')).toEqual([
    'The native addon of ddpm-node is not built. Tried:',
    `  - ${join(folder, 'build', 'Release', 'ddpm.node')}: not there`,
    `  - ${join(folder, 'build', 'Debug', 'ddpm.node')}: not there`,
    ...prebuiltAddons(folder, ['cpu', 'cuda']).map(({ place }) => `  - ${place}: not there`),
    'Run `npm run build`: it sets LibTorch up, and builds the addon where no prebuilt one serves; an install with --ignore-scripts leaves that out, and so do npm 12 and others unless the project allows its script.',
  ]);
  expect(failure(join(folder, 'node_modules', 'ddpm-node')).message).toContain('Run `npx ddpm setup`');
});

test('of those that do not load, every error is told and kept', () => {
  const folder = temporaryFolder();
  const release = built(folder, 'Release', 'no addon');
  const debug = built(folder, 'Debug', '');
  const error = failure(folder);
  const lines = error.message.split('\n');
  expect(lines[0]).toBe('The native addon of ddpm-node does not load. Tried:');
  expect(lines[1]).toMatch(new RegExp(`^  - ${release}: .+`));
  expect(lines[2]).toMatch(new RegExp(`^  - ${debug}: .+`));
  expect((error.cause as AggregateError).errors).toHaveLength(2);
});

test('a LibTorch that is gone is named', () => {
  const folder = temporaryFolder();
  built(folder, 'Release', 'no addon');
  symlinkSync(join(folder, 'gone', 'torch'), join(folder, 'build', 'libtorch'), 'junction');
  const [first] = failure(folder).message.split('\n');
  expect(first).toBe(
    `LibTorch, which the native addon of ddpm-node was built with, is gone from ${join(folder, 'gone', 'torch')}. Tried:`,
  );
});

test('DDPM_ADDON names the one that is loaded, in whatever package', () => {
  process.env.DDPM_ADDON = addon;
  expect(loadAddon(temporaryFolder())).toHaveProperty('libtorchVersion');
});

test('an addon that DDPM_ADDON names and that does not load is the only one tried', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true });
  symlinkSync(addon, join(folder, 'build', 'Release', 'ddpm.node'));
  process.env.DDPM_ADDON = join(folder, 'none.node');
  expect(failure(folder).message.split('\n')).toEqual([
    'The native addon of ddpm-node that DDPM_ADDON names does not load. Tried:',
    `  - ${join(folder, 'none.node')}: not there`,
    'Name the file of an addon in DDPM_ADDON, or unset it: then the built one is taken.',
  ]);
  process.env.DDPM_ADDON = built(folder, 'Debug', 'no addon');
  const error = failure(folder);
  expect(error.message).toContain(`  - ${join(folder, 'build', 'Debug', 'ddpm.node')}: `);
  expect((error.cause as AggregateError).errors).toHaveLength(1);
});
