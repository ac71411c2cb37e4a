import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');

test('a checkout without a build names the one command', () => {
  const checkout = mkdtempSync(join(tmpdir(), 'ddpm-checkout-'));
  try {
    for (const file of ['index.js', 'package.json']) cpSync(join(root, file), join(checkout, file));
    const script = `try { require(${JSON.stringify(checkout)}) } catch (error) { console.log(error.code, error.message) }`;
    const printed = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    expect(printed).toMatch(/^ERR_NATIVE_UNAVAILABLE ddpm-node is not built in this checkout.* Run `npm install`:/);
  } finally {
    rmSync(checkout, { recursive: true, force: true });
  }
});

test('ES modules see the same exports by name', () => {
  const script = `import { Ddpm, presets } from 'ddpm-node'; import all from 'ddpm-node';
    console.log(typeof Ddpm, typeof presets, all.Ddpm === Ddpm)`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(printed.trim()).toBe('function object true');
});
