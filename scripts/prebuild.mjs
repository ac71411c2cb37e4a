#!/usr/bin/env node

/**
 * `npm run prebuild`: builds the addon for this platform against the pinned LibTorch and puts it, with a record of what it
 * is and needs, into `prebuilds/<platform>-<arch>/`. The build that the checkout itself loads stays as it is.
 *
 *   --variant cpu|cuda   what to build for; by default the CPU
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { libraryFiles } from './libtorch/inspect.mjs';
import { locateLibtorch } from './libtorch/locate.mjs';
import { minorOf, pins } from './libtorch/versions.mjs';
import { requestedScript } from './prebuild/lifecycle.mjs';
import { loadOrder } from './prebuild/load-order.mjs';
import { complaints, readRequirements } from './prebuild/requirements.mjs';
import { environmentPath, prebuildPath, recordPath, targets } from './prebuild/targets.mjs';
import { execute } from './setup/command.mjs';
import { compile } from './setup/compile.mjs';
import { packageRoot } from './setup/package.mjs';
import { fileProblem } from './setup/probe.mjs';
import { reason, run, SetupError, say } from './setup/report.mjs';
import { requireBuildTools } from './setup/tools.mjs';
import { chooseVariant } from './setup/variant.mjs';

await run(async () => {
  // As the hook of `npm run build`, which builds for the checkout alone.
  if ((await requestedScript()) === 'build') return;
  const { env, platform, arch } = process;
  const { variant } = await chooseVariant({ flag: readFlag() ?? 'cpu', env });
  const target = targets.find((each) => each.platform === platform && each.arch === arch && each.variant === variant);
  if (target === undefined) {
    throw new SetupError(
      `nothing is published for ${platform}-${arch} (${variant}); there are ${targets.map(({ name }) => name).join(', ')}`,
    );
  }
  await requireBuildTools(env, variant);
  const pin = pins[variant];
  const libtorch = await locateLibtorch({ variant, asked: true, env, say });
  if (libtorch.version !== pin.version) {
    throw new SetupError(
      `a published addon is built against LibTorch ${pin.version}, and ${libtorch.root} is ${libtorch.version}`,
    );
  }

  const built = await compile({
    root: packageRoot,
    build: join(packageRoot, 'build', 'prebuild', variant),
    libtorch,
    cuda: variant === 'cuda',
    debug: false,
    warningsAsErrors: true,
    env,
  });
  const problem = await fileProblem(built);
  if (problem !== undefined) throw new SetupError(`${built} was built, but does not load: ${problem}`);

  const addon = join(packageRoot, prebuildPath(target));
  await mkdir(dirname(addon), { recursive: true });
  await copyFile(built, addon);
  await copyFile(environmentPath(built), environmentPath(addon));
  const record = await recordOf(addon, target, libtorch);
  await writeFile(recordPath(addon), `${JSON.stringify(record, null, 2)}\n`);
  say(`built ${addon}: ${(record.bytes / 1e6).toFixed(2)} MB, needs ${describe(record.symbols)}`);
  const requirements = platform === 'linux' ? readRequirements(addon) : undefined;
  for (const line of complaints({ variant, bytes: record.bytes, requirements })) say(`not fit for a release: ${line}`);
});

function readFlag() {
  try {
    return parseArgs({ options: { variant: { type: 'string' } } }).values.variant;
  } catch (error) {
    throw new SetupError(`${reason(error)}. Known: --variant cpu|cuda`);
  }
}

/**
 * What is to be known of an addon without loading it; lib/loading/record.ts has the meaning of each field.
 *
 * @param {string} addon
 * @param {import('./prebuild/targets.mjs').Target} target
 * @param {import('./libtorch/inspect.mjs').LibTorch} libtorch
 */
async function recordOf(addon, target, libtorch) {
  const { version } = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8'));
  const requirements = target.platform === 'linux' ? readRequirements(addon) : undefined;
  const linked = requirements?.libraries ?? libraryFiles(target.platform);
  const compiler = await execute(process.env.CXX ?? 'c++', ['--version']);
  return {
    version,
    platform: target.platform,
    arch: target.arch,
    libc: target.libc,
    variant: target.variant,
    nodeApi: 8,
    libtorch: {
      version: libtorch.version,
      build: pins[target.variant].build,
      abi: minorOf(libtorch.version),
      libraries: loadOrder(linked, libtorch.root, await libraryFolders(libtorch.root)),
    },
    symbols: requirements?.symbols,
    architectures: requirements?.architectures,
    compiler: compiler.ok ? compiler.stdout.split('\n')[0] : undefined,
    bytes: (await stat(addon)).size,
    sha256: createHash('sha256')
      .update(await readFile(addon))
      .digest('hex'),
  };
}

/** @param {string} root LibTorch's folder */
async function libraryFolders(root) {
  const nvidia = join(root, '..', 'nvidia');
  const packages = existsSync(nvidia) ? await readdir(nvidia) : [];
  return [join(root, 'lib'), ...packages.map((name) => join(nvidia, name, 'lib'))];
}

/** @param {Record<string, string> | undefined} symbols */
function describe(symbols) {
  if (symbols === undefined) return 'nothing that is known here';
  return Object.entries(symbols)
    .map((pair) => pair.join('_'))
    .join(', ');
}
