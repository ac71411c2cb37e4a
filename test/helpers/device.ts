import type { Device } from '../../lib';

/** Where the tests' models live: DDPM_TEST_DEVICE, so that the same tests can be run on a card. */
export const device = (process.env.DDPM_TEST_DEVICE || 'cpu') as Device;
