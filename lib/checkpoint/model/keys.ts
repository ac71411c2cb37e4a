/**
 * Names of weights. The native side's names are those of diffusers; files of 2022 call the linear layers of attention
 * `query`, `key`, `value` and `proj_attn`, which are now `to_q`, `to_k`, `to_v` and `to_out.0`.
 */
import { DdpmError } from '../../errors';
import { floatDtypes } from '../formats/dtypes';
import { listed } from '../formats/names';
import type { TensorSource } from '../formats/safetensors';
import type { TensorShape } from '../formats/safetensorsHeader';

const legacyLayers: Readonly<Record<string, string>> = {
  query: 'to_q',
  key: 'to_k',
  value: 'to_v',
  proj_attn: 'to_out.0',
};

/** Today's name of a weight that may have the one of 2022. */
export function modernName(name: string): string {
  return name.replace(
    /(?<=\battentions\.\d+\.)(query|key|value|proj_attn)(?=\.(weight|bias)$)/,
    (layer) => legacyLayers[layer],
  );
}

/**
 * The tensor of each parameter, by the parameter's name.
 *
 * @throws {DdpmError} `ERR_CHECKPOINT`, with all parameters that are missing, tensors that are no parameter's, and tensors
 *   of another shape or of no floating type.
 */
export function matchParameters(
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[],
  source: Pick<TensorSource, 'path' | 'tensors'>,
): Map<string, TensorShape> {
  const wanted = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const matched = new Map<string, TensorShape>();
  const unknown: string[] = [];
  const shapes: string[] = [];
  const types: string[] = [];
  for (const tensor of source.tensors.values()) {
    const name = modernName(tensor.name);
    const parameter = wanted.get(name);
    if (!parameter || matched.has(name)) {
      unknown.push(tensor.name);
      continue;
    }
    matched.set(name, tensor);
    if (!sameShape(tensor.shape, parameter.shape)) {
      shapes.push(`${tensor.name}: expected ${shapeText(parameter.shape)}, got ${shapeText(tensor.shape)}`);
    }
    if (!floatDtypes.some((dtype) => dtype === tensor.dtype)) {
      types.push(`${tensor.name}: expected one of ${floatDtypes.join(', ')}, got ${tensor.dtype}`);
    }
  }
  const missing = [...wanted.keys()].filter((name) => !matched.has(name));
  const problems = [
    ...listed('missing', missing),
    ...listed('not part of the network', unknown),
    ...listed('of another shape', shapes),
    ...listed('of another type', types),
  ];
  if (problems.length) {
    const text = [`${source.path}: the weights do not fit the network`, ...problems].join('\n');
    throw new DdpmError('ERR_CHECKPOINT', text);
  }
  return matched;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, i) => dimension === b[i]);
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
