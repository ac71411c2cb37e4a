/** A build for CUDA where there is no card. */

import type * as Device from '../../lib/device';

let warnings: { code: string; message: string }[];
let tellOfFallback: typeof Device.tellOfFallback;

beforeEach(() => {
  jest.resetModules();
  ({ tellOfFallback } = require('../../lib/device'));
  warnings = [];
  jest.spyOn(process, 'emitWarning').mockImplementation((message, options) => {
    warnings.push({ message: String(message), code: (options as { code: string }).code });
  });
});
afterEach(() => jest.restoreAllMocks());

test('of which nobody said that it shall not be used, is told once', () => {
  for (let model = 0; model < 3; model++) tellOfFallback({ variant: 'cuda' }, 'auto', 'cpu');
  expect(warnings).toEqual([
    { code: 'DDPM_NO_CUDA_DEVICE', message: expect.stringMatching(/no CUDA device can be used here.*on the CPU/) },
  ]);
});

test.each([
  ['a build for the CPU', 'cpu', 'auto', 'cpu'],
  ["a model that is for the CPU by the user's will", 'cuda', 'cpu', 'cpu'],
  ['a card that is used', 'cuda', 'auto', 'cuda:0'],
] as const)('of %s nothing is told', (_, variant, wanted, got) => {
  tellOfFallback({ variant }, wanted, got);
  expect(warnings).toEqual([]);
});
