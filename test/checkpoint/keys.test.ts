import type { Dtype } from '../../lib/checkpoint/formats/dtypes';
import { matchParameters, modernName } from '../../lib/checkpoint/model/keys';
import { DdpmError } from '../../lib/errors';

const parameters = [
  { name: 'conv_in.weight', shape: [4, 3, 3, 3] },
  { name: 'mid_block.attentions.0.to_q.weight', shape: [4, 4] },
  { name: 'mid_block.attentions.0.to_out.0.bias', shape: [4] },
];

function match(...tensors: [string, number[], Dtype?][]) {
  const list = tensors.map(([name, shape, dtype = 'F32']) => ({ name, shape, dtype }));
  return matchParameters(parameters, {
    path: 'x.safetensors',
    tensors: new Map(list.map((tensor) => [tensor.name, tensor])),
  });
}

function refusal(...tensors: Parameters<typeof match>): string {
  try {
    match(...tensors);
  } catch (error) {
    expect(error).toBeInstanceOf(DdpmError);
    expect((error as DdpmError).code).toBe('ERR_CHECKPOINT');
    return (error as DdpmError).message;
  }
  throw new Error('it succeeded');
}

const all: Parameters<typeof match> = [
  ['conv_in.weight', [4, 3, 3, 3], 'F16'],
  ['mid_block.attentions.0.to_q.weight', [4, 4], 'BF16'],
  ['mid_block.attentions.0.to_out.0.bias', [4], 'F64'],
];

test.each([
  ['mid_block.attentions.0.query.weight', 'mid_block.attentions.0.to_q.weight'],
  ['up_blocks.1.attentions.12.key.bias', 'up_blocks.1.attentions.12.to_k.bias'],
  ['down_blocks.0.attentions.1.value.weight', 'down_blocks.0.attentions.1.to_v.weight'],
  ['mid_block.attentions.0.proj_attn.bias', 'mid_block.attentions.0.to_out.0.bias'],
  ['mid_block.attentions.0.to_q.weight', 'mid_block.attentions.0.to_q.weight'],
  ['mid_block.attentions.0.query.scale', 'mid_block.attentions.0.query.scale'],
  ['mid_block.resnets.0.key.weight', 'mid_block.resnets.0.key.weight'],
])('%s is called %s', (old, name) => {
  expect(modernName(old)).toBe(name);
});

test('finds the tensor of each parameter by either name', () => {
  const matched = match(
    ['mid_block.attentions.0.proj_attn.bias', [4]],
    ['mid_block.attentions.0.query.weight', [4, 4]],
    all[0],
  );
  expect([...matched].map(([name, tensor]) => [name, tensor.name])).toEqual([
    ['mid_block.attentions.0.to_out.0.bias', 'mid_block.attentions.0.proj_attn.bias'],
    ['mid_block.attentions.0.to_q.weight', 'mid_block.attentions.0.query.weight'],
    ['conv_in.weight', 'conv_in.weight'],
  ]);
  expect(match(...all).size).toBe(3);
});

test('lists all that does not fit in one error', () => {
  const text = refusal(
    ['conv_in.weight', [4, 3, 1, 1], 'I64'],
    ['mid_block.attentions.0.to_q.weight', [4]],
    ['__proto__', [4]],
    ['conv_in.bias', [4]],
  );
  expect(text.split('\n')).toEqual([
    'x.safetensors: the weights do not fit the network',
    '1 missing: mid_block.attentions.0.to_out.0.bias',
    '2 not part of the network: __proto__; conv_in.bias',
    '2 of another shape: conv_in.weight: expected [4, 3, 3, 3], got [4, 3, 1, 1]; mid_block.attentions.0.to_q.weight: expected [4, 4], got [4]',
    '1 of another type: conv_in.weight: expected one of F16, BF16, F32, F64, got I64',
  ]);
});

test('one weight under both names is one too many', () => {
  expect(refusal(...all, ['mid_block.attentions.0.query.weight', [4, 4]])).toContain(
    '1 not part of the network: mid_block.attentions.0.query.weight',
  );
});

test('long lists are cut', () => {
  const extra = Array.from({ length: 25 }, (_, i): [string, number[]] => [`x${i}`, [1]]);
  expect(refusal(...all, ...extra)).toMatch(/\n25 not part of the network: x0; .*; x19 and 5 more$/);
});
