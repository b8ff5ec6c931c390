/** The callout cache (Exim manual, "Callout caching"): a record per address and one per domain, kept as hints. */
import { type Address, formatAddress, formatPath, type ReversePath } from '../mail/address.ts';
import type { Hints } from '../hints/hints.ts';
import { errorText } from '../mail/error-text.ts';

/** Exim's main options, with its defaults. */
export interface CalloutExpiry {
  /** `callout_positive_expire`, 24h. */
  readonly positiveMs: number;
  /** `callout_negative_expire`, 2h. */
  readonly negativeMs: number;
  /** `callout_domain_positive_expire`, 7d. */
  readonly domainPositiveMs: number;
  /** `callout_domain_negative_expire`, 3h. */
  readonly domainNegativeMs: number;
}

const hourMs = 3_600_000;

export const defaultCalloutExpiry: CalloutExpiry = {
  positiveMs: 24 * hourMs,
  negativeMs: 2 * hourMs,
  domainPositiveMs: 7 * 24 * hourMs,
  domainNegativeMs: 3 * hourMs,
};

/** `domain-refused`: the domain's host does not take MAIL FROM:<>, so that every callout is bound to fail. */
export type CachedAnswer = 'accepted' | 'refused' | 'domain-refused';

/** What a callout taught; anything temporary teaches nothing. */
export type CalloutLesson = 'accepted' | 'refused' | 'null-sender-refused';

export interface CalloutCache {
  lookup(address: Address, sender: ReversePath, nowMs: number): CachedAnswer | undefined;
  remember(address: Address, sender: ReversePath, lesson: CalloutLesson, nowMs: number): void;
}

/** The record of an address. */
interface AddressRecord {
  readonly callout: 'accept' | 'reject';
  readonly atMs: number;
}

/** The record of a domain; `random` and `postmaster` are for the checks of the same names, not made yet. */
interface DomainRecord {
  readonly callout: 'accept' | 'reject-null-sender';
  readonly postmaster: 'unknown';
  readonly random: 'unknown';
  readonly atMs: number;
}

/** @param problem told of a hint that could not be written; the callout's answer stands all the same */
export function createCalloutCache(
  hints: Hints,
  expiry: CalloutExpiry,
  problem: (text: string) => void,
): CalloutCache {
  const put = (key: string, record: AddressRecord | DomainRecord, expiresAtMs: number): void => {
    hints.put('callout', key, record, expiresAtMs).catch((error: unknown) => {
      problem(`callout cache: ${errorText(error)}`);
    });
  };
  return {
    lookup(address, sender, nowMs) {
      // A rejected MAIL FROM:<> says nothing about a callout with another sender.
      if (
        sender === null &&
        calloutOf(hints.get('callout', domainKey(address), nowMs)) === 'reject-null-sender'
      ) {
        return 'domain-refused';
      }
      const callout = calloutOf(hints.get('callout', addressKey(address, sender), nowMs));
      return callout === 'accept' ? 'accepted' : callout === 'reject' ? 'refused' : undefined;
    },
    remember(address, sender, lesson, nowMs) {
      const domain = domainKey(address);
      const atMs = nowMs;
      if (lesson === 'null-sender-refused') {
        const record: DomainRecord = {
          callout: 'reject-null-sender',
          postmaster: 'unknown',
          random: 'unknown',
          atMs,
        };
        put(domain, record, nowMs + expiry.domainNegativeMs);
        return;
      }
      if (calloutOf(hints.get('callout', domain, nowMs)) !== 'accept') {
        put(
          domain,
          { callout: 'accept', postmaster: 'unknown', random: 'unknown', atMs },
          nowMs + expiry.domainPositiveMs,
        );
      }
      const positive = lesson === 'accepted';
      const record: AddressRecord = { callout: positive ? 'accept' : 'reject', atMs };
      put(addressKey(address, sender), record, nowMs + (positive ? expiry.positiveMs : expiry.negativeMs));
    },
  };
}

function domainKey(address: Address): string {
  return address.domain.toLowerCase();
}

/** As Exim's: the address as it stands, and the sender behind a slash where it is not empty. */
function addressKey(address: Address, sender: ReversePath): string {
  const text = formatAddress(address);
  return sender === null ? text : `${text}/${formatPath(sender)}`;
}

/** Hints are data from outside: anything of another shape counts as no record. */
function calloutOf(record: unknown): string | undefined {
  if (typeof record !== 'object' || record === null || !('callout' in record)) return undefined;
  return typeof record.callout === 'string' ? record.callout : undefined;
}
