/**
 * The lookup port (Exim manual, "File and database lookups"): what expansions and lists ask, and what a driver answers.
 * What all types share (`partial-`, `*`, `*@`, `ret=key`, kept answers) stands in lookups.ts, so that drivers do not
 * know of it. Texts are octet strings.
 */
import type { Awaitable } from '../mail/awaitable.ts';

/** A lookup as `${lookup` or a list item asks it. */
export interface LookupRequest {
  /** The search type without affixes: `lsearch`. */
  readonly type: string;
  /** `partial-`, `*` and `*@` as written: undefined partial means none. */
  readonly partial?: { readonly minimum: number; readonly affix: string };
  readonly defaultStar?: '*' | '*@';
  readonly options: readonly string[];
  readonly key: string;
  /** Absent for query-style lookups. */
  readonly file?: string;
  readonly fileTainted: boolean;
  /** Some of the key came from the wire as it was. */
  readonly keyTainted: boolean;
  /** Some of the key came from the wire, all of that through the quoting operator of this type. */
  readonly keyQuoted?: boolean;
}

/** What a lookup in the DNS says of DNSSEC (`$lookup_dnssec_authenticated`); empty where it was not asked for. */
export type Authenticated = 'yes' | 'no' | '';

export type LookupAnswer =
  /** `parts`: for a partial match, the wild and the fixed part of the key (`$1`, `$2`). */
  | {
      readonly kind: 'found';
      readonly value: string;
      readonly parts?: readonly [string, string];
      readonly authenticated?: Authenticated;
    }
  | { readonly kind: 'missing'; readonly authenticated?: Authenticated }
  | { readonly kind: 'defer'; readonly reason: string };

/** The lookup service of expansions and lists. */
export type Lookup = (request: LookupRequest) => Awaitable<LookupAnswer>;

export type DriverAnswer =
  /** `keepMs`: how long the answer stays good, in place of the driver's own `keepMs`. */
  | {
      readonly kind: 'found';
      readonly value: string;
      readonly keepMs?: number;
      readonly authenticated?: Authenticated;
    }
  | { readonly kind: 'missing'; readonly keepMs?: number; readonly authenticated?: Authenticated }
  /** Could not be asked now: the reason without the key. */
  | { readonly kind: 'defer'; readonly reason: string }
  /** The file or database cannot be opened at all: the whole reason. */
  | { readonly kind: 'unusable'; readonly reason: string };

/** One type of lookup. */
export interface LookupDriver {
  /** As written after `${lookup{key}`: `lsearch`. */
  readonly type: string;
  readonly style: 'single-key' | 'query';
  /** The type has a quoting operator: text from the wire must have gone through it. */
  readonly quotes?: true;
  /**
   * How long the answer to this key may be kept, milliseconds; absent or 0 where it may not. A key whose answer is not kept
   * may have changed the data: every answer kept from this driver is then forgotten.
   */
  readonly keepMs?: (key: string) => number;
  /**
   * @param file absolute path, untainted; the empty string for query styles
   * @param key never empty for single-key styles
   * @param options `name=value` texts that the driver may know; it answers `unusable` to one that it does not
   * @param quoted parts of the key came from the wire and were quoted: no file or server may be taken from it
   */
  find(file: string, key: string, options: readonly string[], quoted?: boolean): Awaitable<DriverAnswer>;
  /** Gives up cached files and connections. */
  close?(): Awaitable<void>;
}
