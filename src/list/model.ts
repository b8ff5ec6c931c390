/** What matching works on: a compiled list, the subject in its current form, and where the match may look. */
import type { Awaitable, ExpandScope, ListAnswer, MatchKind } from '../expand/scope.ts';

/** Texts of named lists (`domainlist`, `hostlist`, ...), not expanded. Must not change while a matcher uses them. */
export interface NamedLists {
  get(kind: MatchKind, name: string): string | undefined;
}

/** What a host list may have to find out (Exim manual, "Behaviour when an IP address or name cannot be found"). */
export type HostFact =
  | { readonly kind: 'found'; readonly values: readonly string[] }
  | { readonly kind: 'missing' }
  | { readonly kind: 'defer'; readonly reason: string };

/** A domain's MX records with the addresses of their hosts. */
export type MailHosts =
  | {
      readonly kind: 'found';
      readonly hosts: readonly { readonly preference: number; readonly addresses: readonly string[] }[];
    }
  | { readonly kind: 'missing' }
  | { readonly kind: 'defer'; readonly reason: string };

/** The machine and the DNS, as lists see them. What is absent makes items that need it defer. */
export interface ListEnvironment {
  /** IP addresses of this machine's interfaces, for `@[]`. */
  localAddresses(): readonly string[];
  /** IP addresses of a host name. */
  addressesOf?(name: string): Awaitable<HostFact>;
  /** Verified names of a host, by its IP address. */
  namesOf?(address: string): Awaitable<HostFact>;
  /** Hosts that take mail for a domain, for `@mx_any` and its kin. */
  mailHostsOf?(domain: string): Awaitable<MailHosts>;
}

/** The subject of one match. `+caseful` changes it for the items that follow, through named lists too, as in Exim. */
export interface Subject {
  /** What is compared now: in lower case until `+caseful`, then as it came (an address keeps its domain in lower case). */
  text: string;
  readonly original: string;
  caseful: boolean;
  /** A host's own name, where the caller gives one; null forbids items that need a name (`match_ip`). */
  readonly hostName?: string | null;
  /** A host's address as octets, once it was needed; null where it is none. */
  octets?: Uint8Array | null;
}

export interface MatchContext {
  readonly scope: ExpandScope;
  readonly environment: ListEnvironment;
  /** How many named lists stand around this one. */
  readonly depth: number;
  /** Runs a list inside an item (the domain part of an address pattern). */
  readonly run: (list: CompiledList, subject: Subject, context: MatchContext) => Awaitable<ListAnswer>;
}

/** An item's answer: a list's, or `unknown` where a host list item needs a name or address that does not exist. */
export type ItemAnswer = ListAnswer | { readonly kind: 'unknown'; readonly reason: string };

/** Compares the subject with one item, its sign apart. */
export type ItemTest = (subject: Subject, context: MatchContext) => Awaitable<ItemAnswer>;

/** An item's test, and what is wrong with it where that can be seen now. */
export interface CompiledItem {
  readonly test: ItemTest;
  readonly problem?: string;
}

/** What a host list does with an item it cannot find out about: `+include_unknown`, `+ignore_defer` and the like. */
export type Unfound = 'fail' | 'include' | 'ignore';

export type Step =
  | { readonly kind: 'caseful' }
  | { readonly kind: 'named'; readonly negated: boolean; readonly name: string }
  | { readonly kind: 'file'; readonly negated: boolean; readonly path: string }
  /** Literal items with the same sign that stand together. */
  | {
      readonly kind: 'literals';
      readonly negated: boolean;
      readonly folded: ReadonlyMap<string, ListAnswer>;
      readonly exact: ReadonlyMap<string, ListAnswer>;
    }
  | {
      readonly kind: 'item';
      readonly negated: boolean;
      readonly test: ItemTest;
      readonly unknown: Unfound;
      readonly deferred: Unfound;
    };

/** Whether a list's text came from the wire. */
export interface Taint {
  /** Some of it did: it may not name files, and what it matches stays tainted. */
  readonly tainted: boolean;
  /** All that did went through the quoting operator of this lookup type. */
  readonly quotedFor?: string;
}

export interface CompiledList extends Taint {
  readonly kind: MatchKind;
  readonly steps: readonly Step[];
  /** What can be seen to be wrong without matching anything, for a person. */
  readonly problems: readonly string[];
}

export const no: { readonly kind: 'no' } = { kind: 'no' };
export const plainYes: { readonly kind: 'yes' } = { kind: 'yes' };

/** No item matched, and the last one was negated. */
export const yesByDefault: { readonly kind: 'yes'; readonly byDefault: true } = {
  kind: 'yes',
  byDefault: true,
};

/** A match whose value is an item's text: as tainted as the list it stands in. */
export function yes(data: string, tainted: boolean): Extract<ListAnswer, { kind: 'yes' }> {
  return tainted ? { kind: 'yes', data, tainted } : { kind: 'yes', data };
}

export function defer(reason: string): { readonly kind: 'defer'; readonly reason: string } {
  return { kind: 'defer', reason };
}

/** `+caseful`: from now on the local part counts as it came. */
export function makeCaseful(kind: MatchKind, subject: Subject): void {
  subject.caseful = true;
  if (kind === 'address') {
    const at = subject.text.lastIndexOf('@');
    subject.text = at < 0 ? subject.text : subject.original.slice(0, at) + subject.text.slice(at);
  } else subject.text = subject.original;
}
