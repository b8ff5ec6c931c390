/**
 * Results of an expansion. Inside the evaluator a text is a plain string and a failure an object, so that the common
 * case allocates nothing; a promise appears only where a lookup, list or ACL returned one.
 */
import type { Awaitable } from './scope.ts';

export type Failure =
  /** `fail` was asked for (Exim manual, "Forced expansion failure"); the option's owner decides what it means. */
  | { readonly kind: 'forced-fail'; readonly reason: string }
  | { readonly kind: 'error'; readonly reason: string }
  /** Something outside could not be asked now: a database is away. */
  | { readonly kind: 'defer'; readonly reason: string };

/** What {@link expand} gives. `tainted` is true where any part of the text came from the wire. */
export type Expansion = { readonly kind: 'ok'; readonly text: string; readonly tainted: boolean } | Failure;

export type Outcome<T> = T | Failure;
/** What an evaluator returns: at once where it can. */
export type Result<T> = Awaitable<Outcome<T>>;

/** Types of values that can be told from a {@link Failure} by `typeof`. */
export type Plain = string | boolean;

/** Largest text an expansion may make, in octets. */
export const maxTextOctets: number = 4 * 1024 * 1024;

export function error(reason: string): Failure {
  return { kind: 'error', reason };
}

/** Continues with `proceed` where `result` is a value, now or later; a failure passes through. */
export function chain<A extends Plain, B>(result: Result<A>, proceed: (value: A) => Result<B>): Result<B> {
  if (typeof result !== 'object') return proceed(result);
  if (result instanceof Promise)
    return result.then((r): Result<B> => (typeof r === 'object' ? r : proceed(r)));
  return result;
}

/** Runs `after` once `result` is settled, with the outcome unchanged. */
export function finish<A extends Plain>(result: Result<A>, after: () => void): Result<A> {
  if (result instanceof Promise)
    return result.then((r) => {
      after();
      return r;
    });
  after();
  return result;
}

/** The text, or an error where it is longer than an expansion may be. */
export function bounded(text: string): Outcome<string> {
  return text.length <= maxTextOctets
    ? text
    : error(`expansion result is longer than ${maxTextOctets} octets`);
}
