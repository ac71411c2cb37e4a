/** The tables of the documentation against the code: names, defaults, codes and variables cannot drift apart. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as defaults from '../../lib/config/defaults';
import { presets } from '../../lib/config/presets';
import { codeBlocks, codeIn, markedTables, pages, root, textOf } from './markdown';

interface Field {
  name: string;
  required: boolean;
  /** Undefined where there is none. */
  defaultValue: unknown;
}

const sources = [
  'config/types.ts',
  'images.ts',
  ...readdirSync(join(root, 'lib/datasets')).map((n) => `datasets/${n}`),
];

/** Defaults of the configuration, from their one place; for other interfaces, their doc comments tell. */
const defaultsOf: Record<string, Record<string, unknown>> = {
  UNetOptions: { ...defaults.unetDefaults },
  DiffusionOptions: { ...defaults.diffusionDefaults },
  OptimizerOptions: { ...defaults.optimizerDefaults },
  EmaOptions: { ...defaults.emaDefaults },
  DdpmConfig: { ...defaults.modelDefaults },
  TrainOptions: { ...defaults.trainDefaults },
  CheckpointOptions: { ...defaults.checkpointDefaults },
  TrainStepOptions: { ...defaults.trainStepDefaults },
  PredictOptions: { ...defaults.predictDefaults },
  SampleOptions: { ...defaults.sampleDefaults },
  HubOptions: { ...defaults.hubDefaults },
  SaveOptions: { ...defaults.saveDefaults },
  ParametersOptions: { ...defaults.parametersDefaults },
};

/** The interfaces of options that the package exports, with their fields. */
const exported = new Set(readFileSync(join(root, 'lib/index.ts'), 'utf8').match(/\b(DdpmConfig|\w+Options)\b/g));
const interfaces = new Map<string, Field[]>();
for (const file of sources) {
  const source = readFileSync(join(root, 'lib', file), 'utf8');
  for (const [, name, body] of source.matchAll(/^export interface (\w+)(?: extends \w+)? \{\n(.*?)^\}/gms)) {
    if (exported.has(name)) interfaces.set(name, fieldsOf(name, body));
  }
}

function fieldsOf(interfaceName: string, body: string): Field[] {
  const fields = body.matchAll(/((?:^ {2}\/\*\*.*?\*\/\n)?)^ {2}(\w+)(\??):/gms);
  return [...fields].map(([, comment, name, mark]) => {
    const told = /@defaultValue (.+)/.exec(comment)?.[1];
    const known = defaultsOf[interfaceName];
    return { name, required: mark === '', defaultValue: known ? known[name] : told && literal(told) };
  });
}

function literal(code: string): unknown {
  return JSON.parse(code.replaceAll("'", '"'));
}

const tables = markedTables();
const optionTables = [...tables].filter(([name]) => name.startsWith('options: '));

test('every interface of options has its table', () => {
  const documented = optionTables.flatMap(([name]) => name.slice('options: '.length).split(', '));
  expect(documented.sort()).toEqual([...interfaces.keys()].sort());
});

test.each(optionTables)('%s', (marker, { rows }) => {
  const names = marker.slice('options: '.length).split(', ');
  const fields = new Map(names.flatMap((name) => interfaces.get(name) ?? []).map((field) => [field.name, field]));
  // A side of an image may be given in either of two ways, and comes in both interfaces.
  const told = Object.fromEntries(rows.map(([name, value]) => [codeIn(name), value]));
  expect(Object.keys(told).sort()).toEqual([...fields.keys()].sort());
  for (const { name, required, defaultValue } of fields.values()) {
    const code = codeIn(told[name]);
    expect({ name, value: code === undefined ? undefined : literal(code) }).toEqual({ name, value: defaultValue });
    if (required) expect({ name, told: told[name] }).toEqual({ name, told: expect.stringMatching(/^required/) });
  }
});

test('every error code is listed', () => {
  const source = readFileSync(join(root, 'lib/errors.ts'), 'utf8');
  const codes = [...source.matchAll(/'(ERR_\w+|ABORT_ERR)'/g)].map(([, code]) => code);
  const told = tables.get('error codes')?.rows.map(([code]) => codeIn(code));
  expect(told?.sort()).toEqual([...new Set(codes)].sort());
});

test('every environment variable of ours that is read is listed', () => {
  const read = [
    ...namesIn('scripts', '.mjs', /\benv\.(DDPM_\w+|LIBTORCH)\b/g),
    ...namesIn('lib', '.ts', /\benv\.(DDPM_\w+|HF_\w+|LIBTORCH)\b/g),
    ...namesIn('native', '', /\bgetenv\("(\w+)"\)/g),
  ];
  const told = tables.get('environment variables')?.rows.map(([name]) => codeIn(name));
  expect(told?.sort()).toEqual([...new Set(read)].sort());
});

/** What a pattern finds in the files of a folder. */
function namesIn(folder: string, suffix: string, pattern: RegExp): string[] {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(suffix));
  return files.flatMap(({ parentPath, name }) => {
    const text = readFileSync(join(parentPath, name), 'utf8');
    return [...text.matchAll(pattern)].map(([, found]) => found);
  });
}

test('the presets that the README names are there', () => {
  const told = [...textOf('README.md').matchAll(/`(?:presets\.)?(cifar10|celebaHq256|lsun\w*256|tiny)`/g)];
  expect(new Set(told.map(([, name]) => name))).toEqual(new Set(Object.keys(presets)));
});

test('the commands of the documentation are scripts of the package', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const named = pages.flatMap((page) => [...textOf(page).matchAll(/\bnpm run ([\w:]+)/g)].map(([, name]) => name));
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining([...named, 'test']));

  const shell = codeBlocks('README.md').filter(({ language }) => language === 'sh');
  expect(shell.map(({ code }) => code.trim())).toEqual(['npm install && npm run demo', 'npm install && npm test']);
});
