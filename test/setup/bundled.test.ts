/** The package inside a bundle: its native addon cannot be there, and the error says what to do. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runNode, temporaryFolder, writeFiles } from './helpers';

const entry = readFileSync(join(root, 'index.js'), 'utf8');

/** What a bundler makes of a CommonJS module for a CommonJS file. */
const wrapped = `const modules = { entry(exports, module) {\n${entry}\n} };\nmodules.entry({}, {});\n`;

/** What esbuild makes of it for an ES module, which has neither require nor a folder. */
const asModule = `
  const __require = (name) => { throw Error('Dynamic require of "' + name + '" is not supported'); };
  const module = {};
  ${entry.replaceAll('require(', '__require(')}`;

/** What webpack makes of it unless told otherwise: the folder of a file is the root. */
const mocked = `const modules = { entry(__dirname) {\n${entry}\n} };\nmodules.entry('/');\n`;

async function refusal(folder: string, file: string): Promise<string> {
  const { code, stderr } = await runNode([join(folder, file)], {});
  expect(code).toBe(1);
  return stderr;
}

test.each([
  ['app.cjs', wrapped],
  ['app.mjs', asModule],
  ['app.cjs', mocked],
])('%s says how to keep it out', async (file, text) => {
  const folder = temporaryFolder();
  for (const application of [{}, { 'package.json': '{"name":"my-app"}', 'dist/index.js': '' }]) {
    writeFiles(folder, application as Record<string, string>);
    writeFileSync(join(folder, file), text);
    const message = await refusal(folder, file);
    expect(message).toContain('DdpmError');
    expect(message).toContain("code: 'ERR_NATIVE_UNAVAILABLE'");
    for (const line of ['--external:ddpm-node', "'commonjs ddpm-node'", "serverExternalPackages: ['ddpm-node']"]) {
      expect(message).toContain(line);
    }
    expect(message).not.toContain('checkout');
  }
});

test('the documentation has the same lines', () => {
  const page = readFileSync(join(root, 'docs', 'installing.md'), 'utf8');
  for (const line of ['--external:ddpm-node', "'commonjs ddpm-node'", "serverExternalPackages: ['ddpm-node']"]) {
    expect(page).toContain(line);
    expect(entry).toContain(line);
  }
});
