/**
 * The pickle of a state dict, read as data. A pickle is a program for a stack machine, and may call any function of
 * Python's; LibTorch's own reader falls over some of them (tuples nested a million deep overflow its stack). This machine
 * knows only the instructions that `torch.save` needs for names and tensors, and calls nothing: the few functions that a
 * state dict names are recognised and stand for what they would have made. All else is refused by name.
 */
import { pacer } from '../../concurrency';
import { DdpmError } from '../../errors';
import { quote } from './names';

/** A piece of memory that tensors share: a record of the archive. */
export class PickledStorage {
  constructor(
    /** The name of its class, which tells the numbers' type: `FloatStorage`. */
    readonly type: string,
    /** The name of its record. */
    readonly key: string,
    /** How many elements it has. */
    readonly count: number,
  ) {}
}

/** A tensor: a view of a storage. Offset and strides count elements. */
export class PickledTensor {
  constructor(
    readonly storage: PickledStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** Something that the pickle names: a class or function of Python's. */
class Global {
  constructor(readonly name: string) {}
}

class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

type Dict = Map<Value, Value>;
type Value = null | boolean | number | string | Value[] | Tuple | Dict | Global | PickledStorage | PickledTensor;

/** Between whose place on the stack and its top an instruction finds its values. */
const MARK = Symbol('mark');

const OP = {
  mark: 0x28, // (
  emptyTuple: 0x29, // )
  stop: 0x2e, // .
  binFloat: 0x47, // G
  binInt: 0x4a, // J
  binInt1: 0x4b, // K
  binInt2: 0x4d, // M
  none: 0x4e, // N
  binPersId: 0x51, // Q
  reduce: 0x52, // R
  binUnicode: 0x58, // X
  emptyList: 0x5d, // ]
  append: 0x61, // a
  build: 0x62, // b
  global: 0x63, // c
  appends: 0x65, // e
  binGet: 0x68, // h
  longBinGet: 0x6a, // j
  binPut: 0x71, // q
  longBinPut: 0x72, // r
  setItem: 0x73, // s
  tuple: 0x74, // t
  setItems: 0x75, // u
  emptyDict: 0x7d, // }
  proto: 0x80,
  tuple1: 0x85,
  tuple2: 0x86,
  tuple3: 0x87,
  newTrue: 0x88,
  newFalse: 0x89,
  long1: 0x8a,
  shortBinUnicode: 0x8c,
  stackGlobal: 0x93,
  memoize: 0x94,
  frame: 0x95,
} as const;

/** What else tensors are made with, in words. */
const kinds: Readonly<Record<string, string>> = {
  'torch._utils._rebuild_qtensor': 'a quantized tensor',
  'torch._utils._rebuild_sparse_tensor': 'a sparse tensor',
  'torch._utils._rebuild_nested_tensor': 'a nested tensor',
  'torch._utils._rebuild_meta_tensor_no_storage': 'a tensor without data',
};

/** PyTorch's own limit. */
const MOST_DIMENSIONS = 64;

/** Instructions between two looks at the clock. */
const INSTRUCTIONS_A_TURN = 1024;

/**
 * The tensors of a pickled state dict by their names, in its order.
 *
 * @param file What messages call the file.
 * @param convert What to do about a pickle that holds something else.
 * @throws {DdpmError} `ERR_CHECKPOINT`.
 */
export async function readStateDict(
  bytes: Uint8Array,
  file: string,
  convert: string,
): Promise<Map<string, PickledTensor>> {
  const machine = new Machine(bytes, file, convert);
  const pause = pacer();
  while (!machine.run(INSTRUCTIONS_A_TURN)) await pause();
  return machine.stateDict();
}

class Machine {
  private readonly view: DataView;
  private position = 0;
  private readonly stack: (Value | typeof MARK)[] = [];
  private readonly memo = new Map<number, Value>();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly file: string,
    private readonly convert: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Runs so many instructions; whether the last of the program was among them. */
  run(instructions: number): boolean {
    for (let i = 0; i < instructions; i++) {
      const op = this.view.getUint8(this.take(1));
      if (op === OP.stop) return true;
      this.step(op);
    }
    return false;
  }

  /** What the program has left behind, which must be names and tensors. */
  stateDict(): Map<string, PickledTensor> {
    const value = this.pop();
    if (this.stack.length > 0) throw this.damaged('it leaves values behind');
    if (!(value instanceof Map)) throw this.unsupported(`a state dict, got ${describe(value)}`);
    const tensors = new Map<string, PickledTensor>();
    for (const [name, tensor] of value) {
      if (typeof name !== 'string') throw this.unsupported(`a name of a tensor, got ${describe(name)}`);
      if (!(tensor instanceof PickledTensor)) {
        throw this.unsupported(`a tensor under the name ${quote(name)}, got ${describe(tensor)}`);
      }
      tensors.set(name, tensor);
    }
    return tensors;
  }

  private step(op: number): void {
    const { view, stack } = this;
    switch (op) {
      case OP.proto:
        this.take(1);
        return;
      case OP.frame:
        this.take(8);
        return;
      case OP.mark:
        stack.push(MARK);
        return;
      case OP.none:
        stack.push(null);
        return;
      case OP.newTrue:
      case OP.newFalse:
        stack.push(op === OP.newTrue);
        return;
      case OP.binInt:
        stack.push(view.getInt32(this.take(4), true));
        return;
      case OP.binInt1:
        stack.push(view.getUint8(this.take(1)));
        return;
      case OP.binInt2:
        stack.push(view.getUint16(this.take(2), true));
        return;
      case OP.long1:
        stack.push(this.long(view.getUint8(this.take(1))));
        return;
      case OP.binFloat:
        stack.push(view.getFloat64(this.take(8), false));
        return;
      case OP.binUnicode:
        stack.push(this.text(view.getUint32(this.take(4), true)));
        return;
      case OP.shortBinUnicode:
        stack.push(this.text(view.getUint8(this.take(1))));
        return;
      case OP.emptyTuple:
        stack.push(new Tuple([]));
        return;
      case OP.tuple1:
      case OP.tuple2:
      case OP.tuple3:
        stack.push(new Tuple(this.popMany(op - OP.tuple1 + 1)));
        return;
      case OP.tuple:
        stack.push(new Tuple(this.popToMark()));
        return;
      case OP.emptyList:
        stack.push([]);
        return;
      case OP.append:
        this.append([this.pop()]);
        return;
      case OP.appends:
        this.append(this.popToMark());
        return;
      case OP.emptyDict:
        stack.push(new Map());
        return;
      case OP.setItem:
        this.setItems(this.popMany(2));
        return;
      case OP.setItems:
        this.setItems(this.popToMark());
        return;
      case OP.binPut:
        this.memo.set(view.getUint8(this.take(1)), this.top());
        return;
      case OP.longBinPut:
        this.memo.set(view.getUint32(this.take(4), true), this.top());
        return;
      case OP.memoize:
        this.memo.set(this.memo.size, this.top());
        return;
      case OP.binGet:
        stack.push(this.remembered(view.getUint8(this.take(1))));
        return;
      case OP.longBinGet:
        stack.push(this.remembered(view.getUint32(this.take(4), true)));
        return;
      case OP.global: {
        const module = this.line();
        stack.push(this.global(`${module}.${this.line()}`));
        return;
      }
      case OP.stackGlobal:
        stack.push(this.global(this.popMany(2).join('.')));
        return;
      case OP.binPersId:
        stack.push(this.storage(this.pop()));
        return;
      case OP.reduce: {
        const [call, given] = this.popMany(2);
        stack.push(this.call(call, given));
        return;
      }
      case OP.build:
        // Notes beside a dict: which version of its class each layer is of.
        this.pop();
        if (!(this.top() instanceof Map))
          throw this.unsupported(`plain tensors, got ${describe(this.top())} with a state`);
        return;
      default:
        throw this.unsupported(`names and tensors, got the instruction 0x${op.toString(16).padStart(2, '0')}`);
    }
  }

  private global(name: string): Global {
    const known =
      /^torch\.\w+Storage$/.test(name) ||
      name === 'collections.OrderedDict' ||
      /^torch\._utils\._rebuild_(tensor|tensor_v2|parameter)$/.test(name);
    if (known) return new Global(name);
    const kind = Object.hasOwn(kinds, name) ? `${kinds[name]} (${name})` : `Python's ${quote(name)}`;
    throw this.unsupported(`plain tensors and nothing else, got ${kind}`);
  }

  /** What a call of a function would make. */
  private call(callee: Value, given: Value): Value {
    const name = callee instanceof Global ? callee.name : undefined;
    const parameters = given instanceof Tuple ? given.items : [];
    switch (name) {
      case 'collections.OrderedDict':
        if (parameters.length > 0) break;
        return new Map();
      case 'torch._utils._rebuild_tensor':
        return this.tensor(parameters);
      case 'torch._utils._rebuild_tensor_v2': {
        const metadata = parameters[6];
        if (metadata instanceof Map && metadata.size > 0)
          throw this.unsupported('a plain tensor, got one with metadata');
        return this.tensor(parameters);
      }
      case 'torch._utils._rebuild_parameter':
        if (!(parameters[0] instanceof PickledTensor)) break;
        return parameters[0];
    }
    throw this.damaged(`it calls ${describe(callee)} with what does not belong there`);
  }

  private storage(id: Value): PickledStorage {
    const [what, type, key, , count] = id instanceof Tuple ? id.items : [];
    if (what !== 'storage' || !(type instanceof Global) || typeof key !== 'string' || !isSize(count)) {
      throw this.damaged('it names a storage in a way that is not known');
    }
    return new PickledStorage(type.name.slice('torch.'.length), key, count);
  }

  private tensor([storage, offset, shape, strides]: readonly Value[]): PickledTensor {
    const sizes = shape instanceof Tuple ? shape.items : [];
    const steps = strides instanceof Tuple ? strides.items : [];
    const whole = storage instanceof PickledStorage && isSize(offset) && sizes.every(isSize) && steps.every(isSize);
    if (!whole || !(shape instanceof Tuple) || sizes.length !== steps.length || sizes.length > MOST_DIMENSIONS) {
      throw this.damaged('it describes a tensor in a way that is not known');
    }
    const extent = extentOf(sizes, steps);
    if (!(offset + extent <= storage.count)) {
      const view = `a tensor [${sizes.join(', ')}] with the strides [${steps.join(', ')}] at element ${offset}`;
      throw this.damaged(`${view} reaches beyond the ${storage.count} elements of its storage`);
    }
    return new PickledTensor(storage, offset, sizes, steps);
  }

  private append(values: readonly Value[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.damaged('it appends to what is no list');
    for (const value of values) list.push(value);
  }

  private setItems(pairs: readonly Value[]): void {
    const dict = this.top();
    if (!(dict instanceof Map) || pairs.length % 2 !== 0) throw this.damaged('it sets items of what is no dict');
    for (let i = 0; i < pairs.length; i += 2) {
      if (dict.has(pairs[i])) throw this.damaged(`the key ${describe(pairs[i])} is given twice`);
      dict.set(pairs[i], pairs[i + 1]);
    }
  }

  private remembered(place: number): Value {
    const value = this.memo.get(place);
    if (value === undefined) throw this.damaged(`it recalls value ${place}, which it has not kept`);
    return value;
  }

  private top(): Value {
    const value = this.stack.at(-1);
    if (value === undefined || value === MARK) throw this.damaged('it uses a value that is not there');
    return value;
  }

  private pop(): Value {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  private popMany(count: number): Value[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  private popToMark(): Value[] {
    const mark = this.stack.lastIndexOf(MARK);
    if (mark < 0) throw this.damaged('it uses values that are not there');
    const values = this.stack.splice(mark) as Value[];
    return values.slice(1);
  }

  /** Moves on by some bytes, which must be there; where they begin. */
  private take(count: number): number {
    const begin = this.position;
    if (count > this.bytes.length - begin) throw this.damaged('it ends in the middle');
    this.position += count;
    return begin;
  }

  private text(length: number): string {
    const begin = this.take(length);
    return this.decode(this.bytes.subarray(begin, begin + length));
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.position);
    if (end < 0) throw this.damaged('it ends in the middle');
    const text = this.decode(this.bytes.subarray(this.position, end));
    this.position = end + 1;
    return text;
  }

  private decode(bytes: Uint8Array): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.damaged('expected UTF-8 text');
    }
  }

  /** An integer of so many bytes, little-endian, in two's complement. */
  private long(length: number): number {
    const begin = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = value * 256n + BigInt(this.bytes[begin + i]);
    const number = Number(BigInt.asIntN(8 * length, value));
    if (!Number.isSafeInteger(number)) throw this.damaged('an integer is beyond 2^53');
    return number;
  }

  private damaged(what: string): DdpmError {
    return new DdpmError('ERR_CHECKPOINT', `${this.file}: the pickle is damaged, or none of a state dict: ${what}`);
  }

  private unsupported(expected: string): DdpmError {
    return new DdpmError('ERR_CHECKPOINT', `${this.file}: expected ${expected}. ${this.convert}`);
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Elements from a tensor's first to its last, both included; NaN where that is beyond 2^53 − 1. */
function extentOf(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  const extent = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i], 1);
  return Number.isSafeInteger(extent) ? extent : Number.NaN;
}

function describe(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'string') return quote(value);
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Tuple) return 'a tuple';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Global) return quote(value.name);
  return value instanceof PickledTensor ? 'a tensor' : 'a storage';
}
