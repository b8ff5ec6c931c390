/** Integers as conditions and options write them (Exim manual, "Expansion conditions"). */
import { error, type Failure } from './outcome.ts';

/** A bigint in a wrapper, so that it can be told from a failure. */
export interface IntegerValue {
  readonly kind: 'integer';
  readonly value: bigint;
}

const shape = /^\s*([-+]?[0-9]+)([kKmMgG]?)\s*$/;
const limit = 2n ** 63n;
const scale: ReadonlyMap<string, bigint> = new Map([
  ['', 1n],
  ['k', 1024n],
  ['m', 1024n ** 2n],
  ['g', 1024n ** 3n],
]);

/** Signed decimal with optional K, M or G; white space around is ignored, the empty text is zero. */
export function parseInteger(text: string): Failure | IntegerValue {
  if (text.trim() === '') return { kind: 'integer', value: 0n };
  const found = shape.exec(text);
  if (found === null)
    return error(
      /^\s*[-+]?[0-9]/.test(text) ? `invalid integer "${text}"` : `integer expected but "${text}" found`,
    );
  const value = BigInt(found[1] ?? '0') * (scale.get((found[2] ?? '').toLowerCase()) ?? 1n);
  if (value >= limit || value < -limit)
    return error(`absolute value of integer "${text}" is too large (overflow)`);
  return { kind: 'integer', value };
}
