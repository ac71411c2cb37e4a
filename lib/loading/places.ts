/** Where an addon may be. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DdpmError } from '../errors';
import type { Variant } from './record';

/** An addon that may be there. */
export interface Candidate {
  /** Its file, or what would hold it. */
  place: string;
  /** Its file, where it is there. */
  file?: string;
  /** Built for others, so that LibTorch is still to be found for it; what its variant is. */
  prebuilt?: Variant;
}

/**
 * The packages that hold the prebuilt addons. Each name is written out where it is resolved: tools that bundle or trace an
 * application see by that what belongs to it.
 */
const packages: Record<string, { variant: Variant; name: string; resolve: () => string }[]> = {
  'linux-x64': [
    {
      variant: 'cuda',
      name: '@ddpm-node/linux-x64-cuda13',
      resolve: () => require.resolve('@ddpm-node/linux-x64-cuda13/ddpm.node'),
    },
    {
      variant: 'cpu',
      name: '@ddpm-node/linux-x64-cpu',
      resolve: () => require.resolve('@ddpm-node/linux-x64-cpu/ddpm.node'),
    },
  ],
  'linux-arm64': [
    {
      variant: 'cpu',
      name: '@ddpm-node/linux-arm64-cpu',
      resolve: () => require.resolve('@ddpm-node/linux-arm64-cpu/ddpm.node'),
    },
  ],
  'darwin-arm64': [
    {
      variant: 'cpu',
      name: '@ddpm-node/darwin-arm64',
      resolve: () => require.resolve('@ddpm-node/darwin-arm64/ddpm.node'),
    },
  ],
  'win32-x64': [
    {
      variant: 'cpu',
      name: '@ddpm-node/win32-x64-cpu',
      resolve: () => require.resolve('@ddpm-node/win32-x64-cpu/ddpm.node'),
    },
  ],
};

/**
 * Where an addon for this machine may be, best first: the one that `DDPM_ADDON` names, before all; one that was built here;
 * `prebuilds/` of the package, which only a checkout has; the platform packages.
 *
 * @param root The package's folder.
 * @throws {DdpmError} `ERR_CONFIG`: `DDPM_VARIANT` has another value than 'cpu' and 'cuda'.
 */
export function candidates(root: string): Candidate[] {
  const named = process.env.DDPM_ADDON;
  if (named) return [existing(resolve(named))];
  const built = ['Release', 'Debug'].map((config) => existing(join(root, 'build', config, 'ddpm.node')));
  return [...built, ...prebuiltAddons(root, wantedVariants())];
}

/** Prebuilt addons of some variants, best first; all places, also those where there is none. */
export function prebuiltAddons(root: string, variants: readonly Variant[]): Candidate[] {
  const host = `${process.platform}-${process.arch}`;
  const inPackages = (packages[host] ?? []).map(({ variant, name, resolve }): Candidate => {
    const file = quietly(resolve);
    return { place: file ?? name, file, prebuilt: variant };
  });
  const libc = process.platform === 'linux' ? '.glibc' : '';
  const inPrebuilds = (packages[host] ?? []).map(({ variant }): Candidate => {
    const label = variant === 'cuda' ? 'cuda13' : 'cpu';
    const file = join(root, 'prebuilds', host, `ddpm-${label}.node.napi${libc}.node`);
    return { ...existing(file), prebuilt: variant };
  });
  const all = [...inPrebuilds, ...inPackages];
  return variants.flatMap((variant) => all.filter(({ prebuilt }) => prebuilt === variant));
}

/**
 * The variants to take, best first. Where nobody has chosen, CUDA goes first on machines that have NVIDIA's driver, and on
 * others the CPU: what is not set up is passed over.
 */
function wantedVariants(): Variant[] {
  const { DDPM_VARIANT: asked } = process.env;
  if (asked === 'cpu' || asked === 'cuda') return [asked];
  if (asked) throw new DdpmError('ERR_CONFIG', `DDPM_VARIANT: expected 'cpu' or 'cuda', got '${asked}'`);
  return driverFiles.some((file) => existsSync(file)) ? ['cuda', 'cpu'] : ['cpu', 'cuda'];
}

/** What NVIDIA's driver brings, on Linux and on Linux within Windows. */
const driverFiles = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'];

function existing(file: string): Candidate {
  return existsSync(file) ? { place: file, file } : { place: file };
}

function quietly(resolve: () => string): string | undefined {
  try {
    return resolve();
  } catch {
    return undefined;
  }
}
