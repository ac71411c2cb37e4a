import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SetupError } from '../../setup/report.mjs';
import { inspect } from '../inspect.mjs';
import { minorOf } from '../versions.mjs';

/**
 * The folder that the user names in LIBTORCH: LibTorch's own, or `torch` in Python's site-packages. Once it is set
 * nothing else is tried, so that a slip of the pen does not end in a download.
 *
 * @type {import('../locate.mjs').Source}
 */
export const environment = {
  name: 'LIBTORCH',

  async find({ env, platform, variant, asked, pin, say }) {
    if (!env.LIBTORCH) return { why: 'not set' };
    const root = resolve(env.INIT_CWD ?? '', env.LIBTORCH);
    if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
      throw new SetupError(`LIBTORCH: expected the folder of a LibTorch, got ${root}, which is no folder`);
    }
    const { libtorch, missing } = inspect(root, platform);
    if (missing.length > 0) {
      const inner = ['libtorch', 'torch'].find((name) => existsSync(join(root, name, 'lib')));
      const hint = inner ? `; did you mean ${join(root, inner)}?` : '';
      throw new SetupError(`LIBTORCH: ${root} is no complete LibTorch: it has no ${missing.join(', ')}${hint}`);
    }
    if (variant === 'cuda' && asked && !libtorch.cuda) {
      throw new SetupError(`LIBTORCH: ${root} is built without CUDA; name one with CUDA, or set DDPM_VARIANT=cpu`);
    }
    if (minorOf(libtorch.version) !== minorOf(pin.version)) {
      say(`LIBTORCH is release ${libtorch.version}; this package is tested with ${pin.version}`);
    }
    return { libtorch };
  },
};
