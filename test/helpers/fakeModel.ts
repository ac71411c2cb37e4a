import type { NativeModel, NativeOperation, NativeWeightSet, NativeWeights } from '../../lib/binding';
import type { ResolvedConfig } from '../../lib/config';
import { levelsOf } from '../../lib/config/levels';

export interface Parameter {
  name: string;
  shape: number[];
}

/** Name and shape of each parameter of the U-Net that a configuration describes, in the order of diffusers' layers. */
export function unetParameters({ image, unet, diffusion }: ResolvedConfig): Parameter[] {
  const parameters: Parameter[] = [];
  const add = (name: string, ...weight: number[]) =>
    parameters.push({ name: `${name}.weight`, shape: weight }, { name: `${name}.bias`, shape: [weight[0]] });
  const norm = (name: string, width: number) => add(name, width);
  const levels = levelsOf(image, unet);
  const widths = levels.map((level) => level.channels);
  const embedding = 4 * widths[0];

  const residual = (name: string, from: number, to: number) => {
    norm(`${name}.norm1`, from);
    add(`${name}.conv1`, to, from, 3, 3);
    add(`${name}.time_emb_proj`, to, embedding);
    norm(`${name}.norm2`, to);
    add(`${name}.conv2`, to, to, 3, 3);
    if (from !== to) add(`${name}.conv_shortcut`, to, from, 1, 1);
  };
  const attention = (name: string, width: number) => {
    norm(`${name}.group_norm`, width);
    for (const layer of ['to_q', 'to_k', 'to_v', 'to_out.0']) add(`${name}.${layer}`, width, width);
  };

  add('conv_in', widths[0], image.channels, 3, 3);
  add('time_embedding.linear_1', embedding, widths[0]);
  add('time_embedding.linear_2', embedding, embedding);
  if (unet.classes) parameters.push({ name: 'class_embedding.weight', shape: [unet.classes, embedding] });

  const skips = [widths[0]];
  let width = widths[0];
  levels.forEach((level, i) => {
    for (let block = 0; block < unet.blocksPerLevel; block++) {
      residual(`down_blocks.${i}.resnets.${block}`, width, level.channels);
      if (level.attention) attention(`down_blocks.${i}.attentions.${block}`, level.channels);
      width = level.channels;
      skips.push(width);
    }
    if (i === levels.length - 1) return;
    add(`down_blocks.${i}.downsamplers.0.conv`, width, width, 3, 3);
    skips.push(width);
  });

  residual('mid_block.resnets.0', width, width);
  attention('mid_block.attentions.0', width);
  residual('mid_block.resnets.1', width, width);

  [...levels].reverse().forEach((level, i) => {
    for (let block = 0; block <= unet.blocksPerLevel; block++) {
      residual(`up_blocks.${i}.resnets.${block}`, width + (skips.pop() as number), level.channels);
      if (level.attention) attention(`up_blocks.${i}.attentions.${block}`, level.channels);
      width = level.channels;
    }
    if (i < levels.length - 1) add(`up_blocks.${i}.upsamplers.0.conv`, width, width, 3, 3);
  });

  norm('conv_norm_out', width);
  add('conv_out', diffusion.varianceType === 'learned_range' ? 2 * image.channels : image.channels, width, 3, 3);
  return parameters;
}

/** A set of weights in JS memory, with the native side's rules. */
export class FakeWeights implements NativeWeights {
  readonly values: Map<string, Float32Array>;
  /** Most elements moved in one call. */
  longest = 0;

  constructor(parameters: readonly Parameter[]) {
    this.values = new Map(
      parameters.map(({ name, shape }) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1))]),
    );
  }

  read(name: string, offset: number, count: number): Float32Array {
    const values = this.range(name, offset, count);
    return values.slice();
  }

  write(name: string, offset: number, bytes: Uint8Array, dtype: 'F32' | 'F16' | 'BF16' | 'F64'): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = { F16: 2, BF16: 2, F32: 4, F64: 8 }[dtype];
    const target = this.range(name, offset, bytes.length / size);
    for (let i = 0; i < target.length; i++) target[i] = element(view, i * size, dtype);
  }

  private range(name: string, offset: number, count: number): Float32Array {
    const values = this.values.get(name);
    if (!values || !Number.isInteger(count) || offset < 0 || offset + count > values.length) {
      throw new RangeError(`no elements ${offset} to ${offset + count} of '${name}'`);
    }
    this.longest = Math.max(this.longest, count);
    return values.subarray(offset, offset + count);
  }
}

function element(view: DataView, at: number, dtype: 'F32' | 'F16' | 'BF16' | 'F64'): number {
  if (dtype === 'F32') return view.getFloat32(at, true);
  if (dtype === 'F64') return view.getFloat64(at, true);
  const bits = view.getUint16(at, true);
  if (dtype === 'BF16') return new Float32Array(Uint32Array.of(bits * 0x10000).buffer)[0];
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The part of a native model that loading and saving need. */
export class FakeModel implements Pick<NativeModel, 'parameters' | 'createWeights' | 'importWeights'> {
  readonly sets = new Map<NativeWeightSet, FakeWeights>();

  constructor(private readonly list: readonly Parameter[]) {}

  parameters(): Parameter[] {
    return this.list.map(({ name, shape }) => ({ name, shape: [...shape] }));
  }

  createWeights(): NativeOperation<FakeWeights> {
    return operation(new FakeWeights(this.list));
  }

  importWeights(weights: NativeWeights, sets: ('raw' | 'ema')[]): NativeOperation<void> {
    for (const set of sets) this.sets.set(set, weights as FakeWeights);
    return operation(undefined);
  }
}

function operation<T>(value: T): NativeOperation<T> {
  return { promise: Promise.resolve(value), abort: () => {} };
}
