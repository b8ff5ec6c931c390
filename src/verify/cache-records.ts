/** What the callout cache knows, for people: one row for each thing known, and which rows an address or a domain owns. */
import type { Hints } from '../hints/hints.ts';
import {
  type CalloutExpiry,
  type DomainRecord,
  factLifeMs,
  type KeptRefusal,
  quotaPrefix,
  readAddressRecord,
  readDomainRecord,
} from './cache.ts';

export interface CalloutRow {
  /** Of the record in the hints; a domain's has several rows. */
  readonly key: string;
  /** The address or domain. */
  readonly subject: string;
  /** `domain` is about MAIL FROM:<>, `random` about local parts that nobody has. */
  readonly about: 'address' | 'quota' | 'domain' | 'random' | 'postmaster';
  /** The reverse path that was given, where it was not `<>`. */
  readonly sender?: string;
  readonly result: 'accept' | 'reject';
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly expiresAtMs: number;
  /** What the server said when it refused. */
  readonly said?: KeptRefusal;
}

/** Every live row in key order; a record of another shape counts as none. */
export function* calloutRows(hints: Hints, expiry: CalloutExpiry, nowMs: number): Generator<CalloutRow> {
  for (const [key, record, expiresAtMs] of hints.entries('callout', '', nowMs)) {
    if (!key.includes('@')) {
      yield* domainRows(key, readDomainRecord(record), expiry, nowMs);
      continue;
    }
    const found = readAddressRecord(record);
    if (found === undefined) continue;
    const about = key.startsWith(quotaPrefix) ? 'quota' : 'address';
    const text = about === 'quota' ? key.slice(quotaPrefix.length) : key;
    const cut = about === 'address' && text.endsWith('>') ? text.lastIndexOf('/<') : -1;
    yield {
      key,
      subject: cut < 0 ? text : text.slice(0, cut),
      about,
      ...(cut < 0 ? {} : { sender: text.slice(cut + 1) }),
      ...found,
      expiresAtMs,
    };
  }
}

function* domainRows(
  domain: string,
  record: DomainRecord,
  expiry: CalloutExpiry,
  nowMs: number,
): Generator<CalloutRow> {
  for (const name of ['callout', 'random', 'postmaster'] as const) {
    const fact = record[name];
    if (fact === undefined) continue;
    const expiresAtMs = fact.atMs + factLifeMs(expiry, name, fact.result);
    if (expiresAtMs <= nowMs) continue;
    yield { key: domain, subject: domain, about: name === 'callout' ? 'domain' : name, ...fact, expiresAtMs };
  }
}

/** Is the row about this address (letter case of the domain does not count), or, without an `@`, this domain or an address in it? */
export function isAbout(row: CalloutRow, wanted: string): boolean {
  const at = wanted.lastIndexOf('@');
  const lowered = wanted.slice(0, at + 1) + wanted.slice(at + 1).toLowerCase();
  const rowAt = row.subject.lastIndexOf('@');
  const domain = row.subject.slice(rowAt + 1).toLowerCase();
  return at < 0 ? domain === lowered : row.subject.slice(0, rowAt + 1) + domain === lowered;
}
