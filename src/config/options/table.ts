/**
 * What an option table says. Tables are the one source for parsing, defaults, `-bP`, built-in macros and the
 * generated reference. (They are `as const` objects; `tables.ts` holds them against {@link OptionTable}, since a
 * declaration that `satisfies` a type cannot be exported with isolated declarations.)
 */
import type { IgnoredKey, RefusedKey } from './reasons.ts';

/**
 * How a value is written and what it becomes (Exim manual, "Common option syntax"):
 * - `integer`: decimal, octal or hexadecimal, with K, M or G
 * - `size`: the same in octets, printed with K or M
 * - `kilobytes`: the same in KiB; a suffix makes it octets
 * - `octal`: always octal; `fixed-point`: up to three decimals
 * - `time`: milliseconds; `time-list`: milliseconds, parted by colons
 * - `list`: split at its separators where it is not expanded, else its text
 * - `user`, `group`: a name or number, as text; `user-list`, `group-list`: several
 */
export type OptionType =
  | 'boolean'
  | 'integer'
  | 'size'
  | 'kilobytes'
  | 'octal'
  | 'fixed-point'
  | 'time'
  | 'time-list'
  | 'string'
  | 'list'
  | 'user'
  | 'group'
  | 'user-list'
  | 'group-list';

export type OptionStatus =
  | 'works'
  /** Setting it stops start-up; the key leads to the sentence in reasons.ts. */
  | { readonly refused: RefusedKey }
  /** Accepted: ignoring it cannot change what happens to mail. */
  | { readonly ignored: IgnoredKey }
  /** Only these values are accepted, since they ask for what happens anyway. */
  | { readonly only: readonly string[]; readonly refused: RefusedKey };

export interface OptionSpec {
  readonly type: OptionType;
  /** As it would be written in a file, or a boolean; undefined for unset. */
  readonly default: string | boolean | undefined;
  /** The value is expanded when it is used. A boolean, integer or time may then be an expansion too. */
  readonly expand?: true;
  /** May be set more than once, and its value is all the texts: what joins them in `-bP`, or `condition` for Exim's `and`. */
  readonly repeat?: string;
  /** The only values there are. */
  readonly oneOf?: readonly string[];
  /** A command: its words are expanded each by itself, except these, which stand for something else. */
  readonly words?: readonly string[];
  /** Expanded once, when Mailchute starts: only what is known then may stand in it. */
  readonly atStart?: true;
  readonly status: OptionStatus;
}

export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** The value that the type of an option gives. */
type Base<S extends OptionSpec> = S['type'] extends 'boolean'
  ? boolean
  : S['type'] extends 'integer' | 'size' | 'kilobytes' | 'octal' | 'fixed-point' | 'time'
    ? number
    : S['type'] extends 'time-list'
      ? readonly number[]
      : S['type'] extends 'list' | 'user-list' | 'group-list'
        ? S extends { readonly expand: true }
          ? string
          : readonly string[]
        : S extends { readonly oneOf: readonly (infer V)[] }
          ? V
          : string;

/** One text for each time the option is set. */
type Repeated<S extends OptionSpec> = S extends { readonly repeat: string } ? readonly string[] : Base<S>;

/** With `expand`, what is not constant stays a text to be expanded at use. */
type Expanded<S extends OptionSpec> = S extends {
  readonly expand: true;
  readonly type: 'boolean' | 'integer' | 'time';
}
  ? Base<S> | string
  : Repeated<S>;

/** What consumers get for an option: undefined only where it has no default. */
export type OptionValue<S extends OptionSpec> = S['default'] extends undefined
  ? Expanded<S> | undefined
  : Expanded<S>;

/** Values of the options that do something; refused and ignored ones are left out, so that nobody relies on them. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T as T[K]['status'] extends 'works' ? K : never]: OptionValue<T[K]>;
};

/** A value before its type is known to the compiler. */
export type AnyValue = boolean | number | string | readonly string[] | readonly number[];
