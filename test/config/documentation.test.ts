/** What the declarations tell a user: defaults that hold, and no type of another library. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import * as defaults from '../../lib/config/defaults';

const root = resolve(__dirname, '../..');

describe('defaults in doc comments', () => {
  const source = readFileSync(join(root, 'lib/config/types.ts'), 'utf8');
  const valuesOf: Record<string, object> = {
    UNetOptions: defaults.unetDefaults,
    DiffusionOptions: defaults.diffusionDefaults,
    OptimizerOptions: defaults.optimizerDefaults,
    EmaOptions: defaults.emaDefaults,
    DdpmConfig: defaults.modelDefaults,
    TrainOptions: defaults.trainDefaults,
    CheckpointOptions: defaults.checkpointDefaults,
    TrainStepOptions: defaults.trainStepDefaults,
    PredictOptions: defaults.predictDefaults,
    SampleOptions: defaults.sampleDefaults,
    HubOptions: defaults.hubDefaults,
    SaveOptions: defaults.saveDefaults,
  };

  test.each(Object.entries(valuesOf))('%s', (name, values) => {
    const [, body] = source.split(new RegExp(`export interface ${name}(?: extends \\w+)? {`));
    const fields = body.slice(0, body.indexOf('\n}')).matchAll(/@defaultValue (.+)\n\s+\*\/\n\s+(\w+)\?:/g);
    const told = Object.fromEntries(
      [...fields].map(([, text, field]) => [field, JSON.parse(text.replaceAll("'", '"'))]),
    );
    expect(told).toEqual(values);
  });
});

test('the declarations name no type of the schema library', () => {
  const out = mkdtempSync(join(tmpdir(), 'ddpm-declarations-'));
  try {
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const project = join(root, 'tsconfig.build.json');
    // Type errors are the compiler's own affair, and leave the exit status alone here: declarations are written all the same.
    spawnSync(process.execPath, [tsc, '-p', project, '--emitDeclarationOnly', '--outDir', out], { cwd: root });
    const packages = new Set<string>();
    const reached = new Set<string>();
    const visit = (file: string) => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const [, name] of readFileSync(file, 'utf8').matchAll(/(?:from |import\()['"]([^'"]+)['"]/g)) {
        if (name.startsWith('.')) visit(`${resolve(dirname(file), name)}.d.ts`);
        else packages.add(name);
      }
    };
    visit(join(out, 'config/index.d.ts'));
    expect(reached).toContain(join(out, 'config/types.d.ts'));
    expect([...packages]).toEqual([]);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
