/** `ddpm setup`: LibTorch into the user's cache, and an addon that loads. */

import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, Option } from 'commander';

const PACKAGE_ROOT = join(__dirname, '..', '..');

/** What the scripts that npm's install step runs give; they are there before any TypeScript is compiled. */
interface Scripts {
  setUp(options: { variant?: string; fromSource?: boolean; env: NodeJS.ProcessEnv }): Promise<void>;
  platformProblem(host: { ownLibtorch: boolean }): string | undefined;
  run(body: () => Promise<void>): Promise<void>;
  SetupError: new (message: string) => Error;
}

interface SetupOptions {
  variant?: string;
  from?: string;
  sha256?: string;
  libtorch?: string;
  fromSource?: boolean;
}

/** The command `ddpm setup`. */
export function setup(): Command {
  return new Command('setup')
    .description('fetch LibTorch once, into a cache that all projects of the user share, and see that the addon loads')
    .addOption(new Option('--variant <variant>', 'what to set up for (DDPM_VARIANT)').choices(['cpu', 'cuda']))
    .option('--from <place>', 'a .whl or .zip with LibTorch, or a mirror; a path or a URL (DDPM_LIBTORCH_URL)')
    .option('--sha256 <digits>', 'what the SHA-256 of that file must be (DDPM_LIBTORCH_SHA256)')
    .option('--libtorch <folder>', 'a LibTorch that is here already: nothing is fetched (DDPM_LIBTORCH)')
    .option('--from-source', 'build the addon, even if a prebuilt one serves')
    .addHelpText('after', '\nBehind a proxy set HTTPS_PROXY. DDPM_CACHE names another folder for the cache.')
    .action(async ({ variant, from, sha256, libtorch, fromSource }: SetupOptions) => {
      const { setUp, platformProblem, run, SetupError } = await scripts();
      await run(async () => {
        const { env } = process;
        if (from !== undefined) env.DDPM_LIBTORCH_URL = addressOf(from);
        if (sha256 !== undefined) env.DDPM_LIBTORCH_SHA256 = sha256;
        if (libtorch !== undefined) env.DDPM_LIBTORCH = resolve(libtorch);
        const problem = platformProblem({ ownLibtorch: Boolean(env.DDPM_LIBTORCH || env.LIBTORCH) });
        if (problem !== undefined) throw new SetupError(problem);
        await setUp({ variant, fromSource, env });
      });
    });
}

/** A place that is no URL is a path. */
function addressOf(place: string): string {
  return /^\w{2,}:\/\//.test(place) ? place : pathToFileURL(resolve(place)).href;
}

async function scripts(): Promise<Scripts> {
  const files = ['set-up', 'platform', 'report'];
  const modules = files.map(
    (file) => import(pathToFileURL(join(PACKAGE_ROOT, 'scripts', 'setup', `${file}.mjs`)).href),
  );
  return Object.assign({}, ...(await Promise.all(modules)));
}
