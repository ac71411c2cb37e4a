/** Work that memory does not suffice for is refused with ERR_OUT_OF_MEMORY, and harms nothing else. */
import { run } from './programs';

/** Kilobytes of address space: what Node and LibTorch reserve, and some 1.5 GB more. */
const limit = 4_000_000;

test('beyond a limit of the address space', async () => {
  const wrap = ['sh', '-c', `ulimit -v ${limit}; exec "$@"`, 'sh'];
  const outcomes = await run<Record<string, string>>('outOfMemory.cjs', [], { wrap });
  expect(outcomes).toEqual({
    train: 'ok',
    'a batch too large to sample': 'ERR_OUT_OF_MEMORY',
    'sample after it': 'ok',
    'a result too large': 'ERR_OUT_OF_MEMORY',
    'sample after that': 'ok',
    'a batch too large to train on': 'ERR_OUT_OF_MEMORY',
    'train after it': 'ok',
    'too many images to predict': 'ERR_OUT_OF_MEMORY',
    'sample after all': 'ok',
    'a model too large': 'ERR_OUT_OF_MEMORY',
    'a call beside one too large': 'ok',
    'one too large beside others': 'ERR_OUT_OF_MEMORY',
    'another call beside it': 'ok',
  });
});
