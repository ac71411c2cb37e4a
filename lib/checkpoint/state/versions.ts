import { native } from '../../binding';

const { version }: { version: string } = require('../../../package.json');

/** What the numbers depend on: another release may round otherwise. */
export interface Versions {
  ddpmNode: string;
  libtorch: string;
}

/** Those in use. */
export function versions(): Versions {
  return { ddpmNode: version, libtorch: native().libtorchVersion };
}
