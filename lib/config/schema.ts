/**
 * Options against their schemas: the kinds of fields, each with the words for what it allows, and the one function that
 * checks a value and throws. Internal: no type of the schema library reaches the public declarations.
 */
import { z } from 'zod';
import { alternatives, configError, invalidLine, nearestName, notSupportedLine, unknownLine } from './messages';

/** What messages say of a schema. */
interface Note {
  /** What is allowed, as in "expected …". */
  expected: string;
  /** Option names (of an object) or values (of a choice) that are known but not in this version. */
  notYet: readonly string[];
}

const notes = z.registry<Note>();

/** Most wrong options that one message tells: a long array can be wrong in every place. */
const MAX_LINES = 10;

/** One schema for every option of `T`, each able to give that option's type. */
export type Fields<T> = { [K in keyof T]-?: z.ZodType<Exclude<T[K], undefined>> };

/** Attaches the words for what a schema allows. */
export function allow<S extends z.ZodType>(expected: string, schema: S, notYet: readonly string[] = []): S {
  notes.add(schema, { expected, notYet });
  return schema;
}

/** An object of options, all of which may be left out; `notYet` names those that a later version will know. */
export function options<F extends z.ZodRawShape>(fields: F, notYet: readonly string[] = []) {
  return allow('an object', z.strictObject(fields).partial(), notYet);
}

/** Like {@link options}, with options that must be there. */
export function optionsWith<R extends z.ZodRawShape, F extends z.ZodRawShape>(
  required: R,
  fields: F,
  notYet: readonly string[] = [],
) {
  return allow('an object', z.strictObject(required).extend(z.strictObject(fields).partial().shape), notYet);
}

/** A whole number, at most 2^53 − 1 where no maximum is given. */
export function integer(min: number, max?: number) {
  const schema = z.int().min(min);
  if (max !== undefined) return allow(`an integer from ${min} to ${max}`, schema.max(max));
  return allow(min === 1 ? 'a positive integer' : `an integer of at least ${min}`, schema);
}

export const finite = () => allow('a finite number', z.number());

/** A finite number greater than 0. */
export const positive = () => allow('a positive number', z.number().positive());

/** A finite number that is not negative. */
export const nonNegative = () => allow('a number of at least 0', z.number().nonnegative());

/** 0 ≤ x < 1. */
export const fraction = () => allow('a number of at least 0 and below 1', z.number().min(0).lt(1));

/** 0 < x < 1. */
export const openFraction = () => allow('a number between 0 and 1, both excluded', z.number().gt(0).lt(1));

export const flag = () => allow('true or false', z.boolean());

/** One of some names; `notYet` are names that a later version will know. */
export function choice<const T extends string>(names: readonly T[], notYet: readonly string[] = []) {
  return allow(alternatives(names), z.enum(names), notYet);
}

/** A function; its parameters are the caller's affair. */
export const callback = <T>() =>
  allow(
    'a function',
    z.custom<T>((value) => typeof value === 'function'),
  );

/** An AbortSignal of any realm, or an object that behaves like one. */
export const abortSignal = () => allow('an AbortSignal', z.custom<AbortSignal>(isAbortSignal));

/** A value that is checked later, when the shape that it must have is known. */
export const later = <T>() => z.custom<T>();

/** The same field, or null. */
export function orNull<S extends z.ZodType>(schema: S) {
  return allow(`${noteOf(schema).expected}, or null`, schema.nullable());
}

/**
 * The value, checked: a copy with the known options only.
 *
 * @param name What to call the value itself, should it be no object at all.
 * @throws {DdpmError} `ERR_CONFIG`, with a line for each option that is wrong, up to ten.
 */
export function parseOptions<S extends z.ZodType>(schema: S, value: unknown, name: string): z.output<S> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  // One bad value can fail several checks of its field; its line is the same for all of them.
  const lines = [...new Set(result.error.issues.flatMap((issue) => issueLines(schema, issue, name)))];
  const more = lines.length - MAX_LINES;
  throw configError(...lines.slice(0, MAX_LINES), ...(more > 0 ? [`and ${more} more`] : []));
}

/** The defaults, with what was given in their place; an option that is undefined counts as left out. */
export function withDefaults<T extends object>(given: { readonly [K in keyof T]?: T[K] } = {}, defaults: T): T {
  const provided = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(provided) };
}

function issueLines(root: z.ZodType, issue: z.core.$ZodIssue, name: string): string[] {
  const path = issue.path as (string | number)[];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKeyLine(root, path, key));
  const { expected, notYet } = noteOf(...schemasAlong(root, path));
  const line = invalidLine(pathText(path) || name, expected, issue.input);
  const known = typeof issue.input === 'string' && notYet.includes(issue.input);
  return [known ? `${line}, which is not supported by this version` : line];
}

/** The note nearest to the end of a path of schemas: an array's own may serve for its elements. */
function noteOf(...schemas: z.ZodType[]): Note {
  const note = schemas.flatMap((schema) => notes.get(schema) ?? []).at(-1);
  if (!note) throw new Error('a schema without words for what it allows');
  return note;
}

function unknownKeyLine(root: z.ZodType, path: (string | number)[], key: string): string {
  const place = pathText([...path, key]);
  const object = schemasAlong(root, path).at(-1) as z.ZodType;
  if (noteOf(object).notYet.includes(key)) return notSupportedLine(place);
  const known = Object.keys(shapeOf(object));
  return unknownLine(place, suggestions(root, known, key), known);
}

/** The same name in other letter case, here or in another group of the options; else the nearest name here. */
function suggestions(root: z.ZodType, known: readonly string[], key: string): string[] {
  const same = (name: string) => name.toLowerCase() === key.toLowerCase();
  const here = known.filter(same);
  if (here.length) return here;
  const elsewhere = Object.entries(shapeOf(root)).flatMap(([group, schema]) => [
    ...(same(group) ? [group] : []),
    ...Object.keys(shapeOf(unwrap(schema)))
      .filter(same)
      .map((name) => `${group}.${name}`),
  ]);
  if (elsewhere.length) return elsewhere;
  const nearest = nearestName(key, known);
  return nearest === undefined ? [] : [nearest];
}

/** The schema itself, then the one of each step of the path, as far as there are any. */
function schemasAlong(root: z.ZodType, path: readonly (string | number)[]): z.ZodType[] {
  const schemas = [root];
  for (const key of path) {
    const parent = schemas[schemas.length - 1];
    const bare = parent instanceof z.ZodNullable ? parent.unwrap() : parent;
    const child = bare instanceof z.ZodArray ? bare.element : shapeOf(bare)[key];
    if (child === undefined) break;
    schemas.push(unwrap(child));
  }
  return schemas;
}

function unwrap(schema: z.core.$ZodType): z.ZodType {
  return (schema instanceof z.ZodOptional ? schema.unwrap() : schema) as z.ZodType;
}

function shapeOf(schema: z.core.$ZodType | undefined): Record<string, z.core.$ZodType> {
  return schema instanceof z.ZodObject ? schema.shape : {};
}

function pathText(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text ? `${text}.${key}` : key;
  }, '');
}

function isAbortSignal(value: unknown): value is AbortSignal {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as AbortSignal).aborted === 'boolean' &&
    typeof (value as AbortSignal).addEventListener === 'function'
  );
}
