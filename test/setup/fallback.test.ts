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

const cudaProblem = 'there is no NVIDIA driver';

test('of which nobody said that it shall not be used, is told once', () => {
  for (let model = 0; model < 3; model++) tellOfFallback({ cudaProblem }, 'auto');
  expect(warnings).toEqual([
    { code: 'DDPM_NO_CUDA_DEVICE', message: expect.stringMatching(/'auto' is the CPU.*there is no NVIDIA driver/) },
  ]);
});

test.each([
  ['a build for the CPU, or a card that is used', undefined, 'auto'],
  ["a model that is for the CPU by the user's will", cudaProblem, 'cpu'],
] as const)('of %s nothing is told', (_, problem, wanted) => {
  tellOfFallback({ cudaProblem: problem }, wanted);
  expect(warnings).toEqual([]);
});
