/** LibTorch's threads do not spin for long while they wait, whichever thread loads the package first. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { childEnvironment } from './programs';

const program = join(__dirname, 'programs', 'patience.cjs');

/** What GNU's OpenMP was loaded with, and what is left of it in the environment. */
async function loadedIn(where: string, env: NodeJS.ProcessEnv) {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, where], {
    env: { ...childEnvironment(), OMP_DISPLAY_ENV: 'verbose', ...env },
  });
  const shown = (name: string) => new RegExp(`${name} = '(.*?)'`).exec(stderr)?.[1];
  return { spins: shown('GOMP_SPINCOUNT'), policy: shown('OMP_WAIT_POLICY'), left: JSON.parse(stdout) };
}

// Other systems have an OpenMP of another kind.
const onLinux = process.platform === 'linux' ? describe : describe.skip;

onLinux.each(['main', 'worker'])('loaded in the %s thread first', (where) => {
  test('a short spin; nothing of that is left, nor goes to children', async () => {
    const nothing = [null, null];
    expect(await loadedIn(where, {})).toEqual({
      spins: '1000',
      policy: 'ACTIVE',
      left: { own: nothing, ofChildren: nothing },
    });
  });

  test("the user's own setting stays", async () => {
    const own = ['77', null];
    expect(await loadedIn(where, { GOMP_SPINCOUNT: '77' })).toEqual({
      spins: '77',
      policy: 'PASSIVE',
      left: { own, ofChildren: own },
    });
  });
});
