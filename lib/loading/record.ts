/** What is to be known of a prebuilt addon before it is loaded. */

import { readFileSync } from 'node:fs';

/** `npm run prebuild` writes it beside the addon. */
export interface AddonRecord {
  /** Release of ddpm-node; lib/ of another release may not fit the addon. */
  version: string;
  platform: NodeJS.Platform;
  arch: string;
  /** On Linux. */
  libc?: 'glibc';
  variant: Variant;
  /** Version of Node-API. */
  nodeApi: number;
  libtorch: {
    /** Release that it was built against. */
    version: string;
    /** PyTorch's name of that build: `cpu`, `cu130`. */
    build: string;
    /** The releases that it can be loaded with: those that begin so. */
    abi: string;
    /** LibTorch's libraries that it is linked with, relative to LibTorch's folder, in an order in which they can be loaded. */
    libraries: string[];
  };
  /** On Linux: the newest version of each family of symbols that it needs of the system, `{ GLIBC: '2.28' }`. */
  symbols?: Record<string, string>;
  /** On Linux: what its device code is for, `sm_80` for machine code and `compute_90` for PTX. */
  architectures?: string[];
  compiler?: string;
  bytes: number;
  sha256: string;
}

export type Variant = 'cpu' | 'cuda';

/**
 * The record beside an addon.
 *
 * @throws {Error} It is not there or no record.
 */
export function readRecord(addon: string): AddonRecord {
  return JSON.parse(readFileSync(addon.replace(/\.node$/, '.json'), 'utf8'));
}
