import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SetupError } from '../../setup/report.mjs';
import { inspect } from '../inspect.mjs';
import { minorOf } from '../versions.mjs';

/**
 * The folder that the user names in DDPM_LIBTORCH: LibTorch's own, or `torch` in Python's site-packages. Once it is set
 * nothing else is tried, so that a slip of the pen does not end in a download. A build from source takes LIBTORCH too; a
 * prebuilt addon does not: it is often set for other programs, and for another release.
 *
 * @type {import('../locate.mjs').Source}
 */
export const environment = {
  name: 'DDPM_LIBTORCH',

  async find({ env, platform, variant, asked, pin, needed, say }) {
    const name = env.DDPM_LIBTORCH || needed ? 'DDPM_LIBTORCH' : 'LIBTORCH';
    const value = needed ? env.DDPM_LIBTORCH : env.DDPM_LIBTORCH || env.LIBTORCH;
    if (!value) return { why: 'not set' };
    const root = resolve(env.INIT_CWD ?? '', value);
    if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
      throw new SetupError(`${name}: expected the folder of a LibTorch, got ${root}, which is no folder`);
    }
    const { libtorch, missing } = inspect(root, platform, needed);
    if (missing.length > 0) {
      const inner = ['libtorch', 'torch'].find((folder) => existsSync(join(root, folder, 'lib')));
      const hint = inner ? `; did you mean ${join(root, inner)}?` : '';
      throw new SetupError(`${name}: ${root} is no complete LibTorch: it has no ${missing.join(', ')}${hint}`);
    }
    if (variant === 'cuda' && asked && !libtorch.cuda) {
      throw new SetupError(`${name}: ${root} is built without CUDA; name one with CUDA, or set DDPM_VARIANT=cpu`);
    }
    if (minorOf(libtorch.version) !== minorOf(pin.version)) {
      const release = `${name} is release ${libtorch.version}`;
      if (needed) {
        throw new SetupError(
          `${release}, and the prebuilt addon needs ${minorOf(pin.version)}; name one of that release`,
        );
      }
      say(`${release}; this package is tested with ${pin.version}`);
    }
    return { libtorch };
  },
};
