/** The package that these scripts belong to. */

import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's folder, without a separator at the end. */
export const packageRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Whether the package is installed for an application to use, and no checkout to work on. */
export const isInstalled = basename(dirname(packageRoot)) === 'node_modules';

/** The command that sets LibTorch up and, where no prebuilt addon serves, builds one. */
export const setupCommand = isInstalled ? 'npx ddpm setup' : 'npm run build';
