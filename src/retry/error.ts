/** Errors as retry rules name them (Exim manual, "Retry rules for specific errors"). */
import { formatTimeInterval, parseTimeInterval } from '../mail/time-interval.ts';

const plainNames = ['auth_failed', 'lost_connection', 'lookup', 'tls_required'] as const;
const hostNames = ['refused', 'timeout_connect', 'timeout'] as const;
const replyNames = ['mail', 'rcpt', 'data'] as const;

/**
 * One error, as it happened or as a rule wants it. In a rule an absent detail matches any; in an error it is unknown,
 * and then only rules without that detail match.
 */
export type RetryError =
  | { readonly kind: 'plain'; readonly name: (typeof plainNames)[number] }
  /** `from` tells whether the host came from an MX record or from an address record or a configuration. */
  | { readonly kind: 'host'; readonly name: (typeof hostNames)[number]; readonly from?: 'MX' | 'A' }
  /** A 4xx reply to MAIL, RCPT or DATA; the last two digits. */
  | {
      readonly kind: 'reply';
      readonly to: (typeof replyNames)[number];
      readonly tens?: number;
      readonly units?: number;
    }
  /** `idleMs`: how long the mailbox has not been read. */
  | { readonly kind: 'quota'; readonly idleMs?: number }
  /** Anything that has no name; only `*` matches it. */
  | { readonly kind: 'other' };

/** Reads an error name without regard to case: `timeout_connect_A`, `rcpt_45x`, `quota_4d`. A text says what is wrong with it. */
export function parseRetryError(name: string): RetryError | string {
  const text = name.toLowerCase();
  for (const plain of plainNames) if (text === plain) return { kind: 'plain', name: plain };
  for (const host of hostNames) {
    if (text === host) return { kind: 'host', name: host };
    if (text === `${host}_a`) return { kind: 'host', name: host, from: 'A' };
    if (text === `${host}_mx`) return { kind: 'host', name: host, from: 'MX' };
  }
  if (text === 'quota') return { kind: 'quota' };
  if (text.startsWith('quota_')) {
    const idleMs = parseTimeInterval(name.slice(6));
    return idleMs === undefined ? 'bad time value' : { kind: 'quota', idleMs };
  }
  for (const to of replyNames) {
    if (!text.startsWith(`${to}_4`)) continue;
    const digits = text.slice(to.length + 2);
    if (digits === 'xx') return { kind: 'reply', to };
    const found = /^(\d)([\dx])$/.exec(digits);
    if (found === null)
      return `${to}_4 must be followed by xx, dx, or dd, where x is literal and d is any digit`;
    const tens = Number(found[1]);
    return found[2] === 'x'
      ? { kind: 'reply', to, tens }
      : { kind: 'reply', to, tens, units: Number(found[2]) };
  }
  return `unknown or malformed retry error "${name}"`;
}

/** A rule's error as `-brt` prints it; Exim prints `*` for all that it does not know a word for there. */
export function formatRetryError(error: RetryError | undefined): string {
  switch (error?.kind) {
    case 'quota':
      return error.idleMs === undefined ? 'quota' : `quota_${formatTimeInterval(error.idleMs)}`;
    case 'host':
      return error.from === undefined ? error.name : `${error.name}_${error.from}`;
    case 'plain':
      return error.name === 'auth_failed' ? error.name : '*';
    case 'reply':
    case 'other':
    case undefined:
      return '*';
  }
}

/** Does the error a rule names cover the one that happened? `timeout` covers `timeout_connect`, as the manual says. */
export function errorMatches(wanted: RetryError, happened: RetryError): boolean {
  switch (wanted.kind) {
    case 'plain':
      return happened.kind === 'plain' && happened.name === wanted.name;
    case 'host':
      if (happened.kind !== 'host' || (wanted.from !== undefined && wanted.from !== happened.from))
        return false;
      return (
        happened.name === wanted.name || (wanted.name === 'timeout' && happened.name === 'timeout_connect')
      );
    case 'reply':
      if (happened.kind !== 'reply' || happened.to !== wanted.to) return false;
      return (
        (wanted.tens === undefined || wanted.tens === happened.tens) &&
        (wanted.units === undefined || wanted.units === happened.units)
      );
    case 'quota':
      return (
        happened.kind === 'quota' && (wanted.idleMs === undefined || (happened.idleMs ?? -1) >= wanted.idleMs)
      );
    case 'other':
      return false;
  }
}
