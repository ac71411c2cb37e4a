import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execute } from '../../setup/command.mjs';
import { putInCache } from '../cache.mjs';
import { unzip } from '../unzip.mjs';
import { wheelPythons } from '../versions.mjs';
import { placeNvidia, placeTorch } from './contents.mjs';
import { pythonCommands, whyNoPython } from './python-commands.mjs';

/** PyTorch's own index of wheels, by build; the `+cpu` wheels are there only. */
const pytorchIndex = 'https://download.pytorch.org/whl/';

/** Prints Python's release, where it has pip. */
const program = 'import pip, sys; print("%d.%d" % sys.version_info[:2])';

/**
 * The wheel of torch, which holds a complete LibTorch, fetched with pip from wherever pip is set up to fetch from.
 *
 * @type {import('../locate.mjs').Source}
 */
export const pip = {
  name: 'pip download',

  async find(context) {
    const refusals = [];
    for (const command of pythonCommands(context.platform)) {
      const asked = await execute(command, ['-c', program], { env: context.env });
      if (!asked.found) continue;
      if (asked.ok) return { libtorch: await setUp(context, command, asked.stdout.trim()) };
      refusals.push({ command, why: asked.why });
    }
    return { why: whyNoPython(context.platform, refusals) };
  },
};

/**
 * @param {import('../locate.mjs').Context} context
 * @param {string} python
 * @param {string} pythonVersion `3.11`
 */
async function setUp(context, python, pythonVersion) {
  const { env, say } = context;

  return putInCache(context, async (tree, scratch) => {
    const [wheels, temporary] = ['wheels', 'temporary'].map((name) => join(scratch, name));
    await mkdir(temporary);
    const general = ['-m', 'pip', 'download', '--only-binary=:all:', '--no-cache-dir', '--dest', wheels];
    // Only the C++ part is used, so where there is no wheel for this Python, one for another will do.
    if (!wheelPythons.includes(pythonVersion)) general.push('--python-version', wheelPythons[0]);

    /** @param {string[]} args */
    const download = async (args) => {
      const line = `${python} -m pip download ${args.join(' ')}`;
      say(line);
      // pip's own temporary folder may be too small for wheels of this size.
      const { ok, why } = await execute(python, [...general, ...args], { env: { ...env, TMPDIR: temporary } });
      return ok ? undefined : `${line}: ${why}`;
    };

    const refused = [];
    for (const args of torchRequests(context)) {
      const refusal = await download(args);
      if (refusal === undefined) break;
      refused.push(refusal);
    }
    if (refused.length === torchRequests(context).length) throw new Error(refused.join('\n'));
    const [torchWheel] = await readdir(wheels);
    say(`unpacking ${torchWheel}`);
    await unzip(join(wheels, torchWheel), tree, placeTorch);

    const nvidia = nvidiaRequirements(await readFile(join(tree, 'torch.dist-info', 'METADATA'), 'utf8'));
    if (nvidia.length === 0) return;
    const refusal = await download(nvidia);
    if (refusal !== undefined) throw new Error(refusal);
    for (const wheel of await readdir(wheels)) {
      if (wheel !== torchWheel) await unzip(join(wheels, wheel), tree, placeNvidia);
    }
  });
}

/**
 * The ways to ask pip for torch, best first. A wheel for the CPU alone is a fifth of the size of the one with CUDA, and
 * may be on an index of the user's own as well as on PyTorch's.
 *
 * @param {import('../locate.mjs').Context} context
 * @returns {string[][]}
 */
function torchRequests({ pin, variant, platform }) {
  const release = `torch==${pin.version}`;
  const plain = ['--no-deps', release];
  // Wheels for macOS bear no label: there is one build.
  if (platform === 'darwin') return [plain];
  const labelled = ['--no-deps', `${release}+${pin.build}`];
  const fromPytorch = [...labelled, '--extra-index-url', pytorchIndex + pin.build];
  return variant === 'cpu' ? [labelled, fromPytorch, plain] : [plain, fromPytorch];
}

/**
 * What a wheel of torch with CUDA needs besides, as requirements that pip understands; none for other wheels. The rest
 * of its requirements are for Python.
 *
 * @param {string} metadata text of the wheel's METADATA
 * @returns {string[]}
 */
export function nvidiaRequirements(metadata) {
  return [...metadata.matchAll(/^Requires-Dist: ((?:nvidia-|cuda-toolkit\b).*?)\r?$/gm)]
    .map(([, requirement]) => requirement)
    .filter((requirement) => !/\bextra\s*==/.test(requirement));
}
