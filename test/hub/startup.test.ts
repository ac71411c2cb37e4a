/** Whoever loads no model from a hub does not wait for the hub's library. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

test('the package loads without the library', () => {
  const entry = JSON.stringify(join(__dirname, '../../dist'));
  const program = `require(${entry}); console.log(Object.keys(require.cache).filter((path) => path.includes('@huggingface')).length)`;
  expect(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }).trim()).toBe('0');
});
