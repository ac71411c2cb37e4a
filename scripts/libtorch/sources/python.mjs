import { dirname } from 'node:path';
import { execute } from '../../setup/command.mjs';
import { inspect } from '../inspect.mjs';
import { minorOf } from '../versions.mjs';
import { pythonCommands, whyNoPython } from './python-commands.mjs';

const program = `
import json, torch, torch.utils
print(json.dumps([torch.utils.cmake_prefix_path, torch.__version__, torch.version.cuda]))
`;

/** Importing torch from a cold disk takes its time. */
const timeout = 120_000;

/**
 * The torch of an installed Python, where its release is the pinned one: C++ classes differ between minor releases.
 *
 * @type {import('../locate.mjs').Source}
 */
export const python = {
  name: "Python's torch",

  async find({ env, platform, variant, pin }) {
    const refusals = [];
    for (const command of pythonCommands(platform)) {
      const asked = await execute(command, ['-c', program], { env, timeout });
      if (!asked.found) continue;
      const judged = asked.ok ? judge(asked.stdout, { platform, variant, pin }) : { why: asked.why };
      if ('libtorch' in judged) return judged;
      refusals.push({ command, why: judged.why });
    }
    return { why: whyNoPython(platform, refusals) };
  },
};

/**
 * @param {string} output what `program` printed
 * @param {Pick<import('../locate.mjs').Context, 'platform' | 'variant' | 'pin'>} wanted
 */
function judge(output, { platform, variant, pin }) {
  const [prefix, version, cuda] = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  if (minorOf(version) !== minorOf(pin.version)) {
    return { why: `its torch is ${version}, and ${minorOf(pin.version)} is needed` };
  }
  if (variant === 'cuda' && cuda === null) return { why: `its torch ${version} is built without CUDA` };
  // cmake_prefix_path is torch/share/cmake.
  const { libtorch, missing } = inspect(dirname(dirname(prefix)), platform);
  return missing.length === 0 ? { libtorch } : { why: `${libtorch.root} has no ${missing.join(', ')}` };
}
