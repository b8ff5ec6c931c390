/**
 * The callout cache (Exim manual, "Callout caching"): a record per address and one per domain, kept as hints. Unlike
 * Exim's, a record of a refusal keeps what the server said.
 */
import { type Address, formatAddress, formatPath, type ReversePath } from '../mail/address.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import { errorText } from '../mail/error-text.ts';
import type { Reply } from '../mail/reply.ts';
import type { Hints } from '../hints/hints.ts';
import type { CalloutStage } from './callout-answer.ts';

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

/** What a server said when it refused, for those who ask again. */
export interface KeptRefusal {
  readonly stage: CalloutStage;
  readonly peer: Endpoint;
  readonly after: string;
  readonly reply: Reply;
}

/** `domain`: its host does not take MAIL FROM:<>, so that every callout is bound to fail. */
export type CachedAnswer =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'random-accepted' }
  | {
      readonly kind: 'refused';
      readonly of: 'domain' | 'postmaster' | 'address';
      readonly said?: KeptRefusal;
    };

/** What a domain's server is known to do; absent where it has to be asked. */
export interface DomainFacts {
  /** Whether it takes any local part. */
  readonly random?: 'accept' | 'reject';
  readonly postmaster?: 'accept' | 'reject';
}

/** Nothing is known of the address itself. */
export interface Unknown extends DomainFacts {
  readonly kind: 'ask';
}

export interface CacheQuestion {
  readonly address: Address;
  readonly sender: ReversePath;
  readonly random: boolean;
  readonly postmaster: boolean;
}

/** What a callout taught; anything temporary teaches nothing. */
export type CalloutLesson =
  | { readonly of: 'address'; readonly result: 'accept' }
  | { readonly of: 'address'; readonly result: 'reject'; readonly said: KeptRefusal }
  | { readonly of: 'null-sender'; readonly said: KeptRefusal }
  | { readonly of: 'random'; readonly result: 'accept' | 'reject' }
  | { readonly of: 'postmaster'; readonly result: 'accept' }
  | { readonly of: 'postmaster'; readonly result: 'reject'; readonly said: KeptRefusal };

export interface CalloutCache {
  /** The answer where it is known, else what is known of the domain. */
  lookup(question: CacheQuestion, nowMs: number): CachedAnswer | Unknown;
  remember(address: Address, sender: ReversePath, lesson: CalloutLesson, nowMs: number): void;
  /** What was learnt about room in a mailbox. */
  quota(address: Address, nowMs: number): AddressRecord | undefined;
  /** @param said absent where there is room */
  rememberQuota(address: Address, said: KeptRefusal | undefined, nowMs: number, lifeMs: number): void;
}

/** The record of an address. */
export interface AddressRecord {
  readonly result: 'accept' | 'reject';
  readonly atMs: number;
  readonly said?: KeptRefusal;
}

/** A thing known of a domain. */
interface DomainFact {
  readonly result: 'accept' | 'reject';
  readonly atMs: number;
  readonly said?: KeptRefusal;
}

/** The record of a domain: `callout` is about MAIL FROM:<>. */
export interface DomainRecord {
  readonly callout?: DomainFact;
  readonly postmaster?: DomainFact;
  readonly random?: DomainFact;
}

/** Records that were read, and how long they are believed. */
const maxRead = 5000;
const readMs = 1000;

const factNames = ['callout', 'postmaster', 'random'] as const;

/** @param problem told of a hint that could not be written; the callout's answer stands all the same */
export function createCalloutCache(
  hints: Hints,
  expiry: CalloutExpiry,
  problem: (text: string) => void,
): CalloutCache {
  const lifeOf = (name: keyof DomainRecord, { result }: DomainFact): number =>
    factLifeMs(expiry, name, result);

  /** What was written and may not be visible in the hints yet. */
  const recent = new Map<string, AddressRecord | DomainRecord>();

  const get = (key: string, nowMs: number): unknown =>
    (recent.size > 0 ? recent.get(key) : undefined) ?? hints.get('callout', key, nowMs);

  const put = (key: string, record: AddressRecord | DomainRecord, expiresAtMs: number): void => {
    read.delete(key);
    if (recent.size < maxRecent) recent.set(key, record);
    hints
      .put('callout', key, record, expiresAtMs)
      .catch((error: unknown) => problem(`callout cache: ${errorText(error)}`))
      .finally(() => {
        read.delete(key);
        if (recent.get(key) === record) recent.delete(key);
      });
  };

  /** What was read a moment ago: most recipients of a batch are of one domain, and popular ones come again and again. */
  const read = new Map<string, { readonly record: unknown; readonly untilMs: number }>();

  /** The record of a key by `parse`. Another process's is seen {@link readMs} later at the most. */
  function recordOf<T>(key: string, nowMs: number, parse: (record: unknown) => T): T {
    const kept = read.get(key);
    if (kept !== undefined && nowMs < kept.untilMs) return kept.record as T;
    const record = parse(get(key, nowMs));
    if (read.size >= maxRead) read.clear();
    read.set(key, { record, untilMs: nowMs + readMs });
    return record;
  }

  function domainOf(address: Address, nowMs: number): DomainRecord {
    const record = recordOf(domainKey(address), nowMs, readDomainRecord);
    const isLive = (name: keyof DomainRecord): boolean => {
      const fact = record[name];
      return fact === undefined || fact.atMs + lifeOf(name, fact) > nowMs;
    };
    if (factNames.every(isLive)) return record;
    return Object.fromEntries(Object.entries(record).filter(([name]) => isLive(name as keyof DomainRecord)));
  }

  function learn(address: Address, name: keyof DomainRecord, fact: DomainFact): void {
    const record: DomainRecord = { ...domainOf(address, fact.atMs), [name]: fact };
    const ends = Object.entries(record).map(([n, f]) => f.atMs + lifeOf(n as keyof DomainRecord, f));
    put(domainKey(address), record, Math.max(...ends));
  }

  return {
    quota: (address, nowMs) => readAddressRecord(get(quotaKey(address), nowMs)),
    rememberQuota(address, said, nowMs, lifeMs) {
      if (lifeMs <= 0) return;
      const record: AddressRecord =
        said === undefined
          ? { result: 'accept', atMs: nowMs }
          : { result: 'reject', atMs: nowMs, said: shortened(said) };
      put(quotaKey(address), record, nowMs + lifeMs);
    },
    lookup({ address, sender, random, postmaster }, nowMs) {
      const domain = domainOf(address, nowMs);
      // A rejected MAIL FROM:<> says nothing about a callout with another sender.
      if (sender === null && domain.callout?.result === 'reject') return refused('domain', domain.callout);
      if (random && domain.random?.result === 'accept') return { kind: 'random-accepted' };
      if (postmaster && domain.postmaster?.result === 'reject')
        return refused('postmaster', domain.postmaster);
      const known = recordOf(addressKey(address, sender), nowMs, readAddressRecord);
      if (known?.result === 'accept') return { kind: 'accepted' };
      if (known !== undefined) return refused('address', known);
      return {
        kind: 'ask',
        ...(domain.random === undefined ? {} : { random: domain.random.result }),
        ...(domain.postmaster === undefined ? {} : { postmaster: domain.postmaster.result }),
      };
    },
    remember(address, sender, lesson, nowMs) {
      switch (lesson.of) {
        case 'null-sender':
          learn(address, 'callout', { result: 'reject', atMs: nowMs, said: shortened(lesson.said) });
          return;
        case 'random':
          learn(address, 'random', { result: lesson.result, atMs: nowMs });
          return;
        case 'postmaster': {
          const said = lesson.result === 'reject' ? { said: shortened(lesson.said) } : {};
          learn(address, 'postmaster', { result: lesson.result, atMs: nowMs, ...said });
          return;
        }
        case 'address': {
          if (domainOf(address, nowMs).callout?.result !== 'accept')
            learn(address, 'callout', { result: 'accept', atMs: nowMs });
          const said = lesson.result === 'reject' ? { said: shortened(lesson.said) } : {};
          const lifeMs = lesson.result === 'accept' ? expiry.positiveMs : expiry.negativeMs;
          put(addressKey(address, sender), { result: lesson.result, atMs: nowMs, ...said }, nowMs + lifeMs);
        }
      }
    },
  };
}

function refused(
  of: Extract<CachedAnswer, { kind: 'refused' }>['of'],
  { said }: { readonly said?: KeptRefusal },
): CachedAnswer {
  return { kind: 'refused', of, ...(said === undefined ? {} : { said }) };
}

/** How long something known of a domain holds. That a host does not take any local part is the usual case, and holds as long as a yes. */
export function factLifeMs(
  { domainNegativeMs, domainPositiveMs }: CalloutExpiry,
  name: keyof DomainRecord,
  result: 'accept' | 'reject',
): number {
  return result === 'reject' && name !== 'random' ? domainNegativeMs : domainPositiveMs;
}

/** No address has a space in front. */
export const quotaPrefix = ' quota ';

/** Records on their way to the hints; one more is seen when it is there. */
const maxRecent = 10_000;

function quotaKey(address: Address): string {
  return `${quotaPrefix}${formatAddress(address)}`;
}

export function domainKey(address: Address): string {
  return address.domain.toLowerCase();
}

/** As Exim's: the address as it stands, and the sender behind a slash where it is not empty. */
export function addressKey(address: Address, sender: ReversePath): string {
  const text = formatAddress(address);
  return sender === null ? text : `${text}/${formatPath(sender)}`;
}

const maxKeptLines = 5;
const maxKeptOctets = 300;

/** A server may say much; what is kept is enough to be told again. */
function shortened(said: KeptRefusal): KeptRefusal {
  const lines = said.reply.lines.slice(0, maxKeptLines).map((line) => line.slice(0, maxKeptOctets));
  return { ...said, reply: { ...said.reply, lines: lines as [string, ...string[]] } };
}

/** Hints are data from outside: anything of another shape counts as no record. */
export function readAddressRecord(record: unknown): AddressRecord | undefined {
  return isFact(record) ? record : undefined;
}

export function readDomainRecord(record: unknown): DomainRecord {
  if (typeof record !== 'object' || record === null) return {};
  const facts = factNames.flatMap((name) => {
    const fact: unknown = (record as Partial<Record<string, unknown>>)[name];
    return isFact(fact) ? [[name, fact] as const] : [];
  });
  return Object.fromEntries(facts);
}

function isFact(value: unknown): value is DomainFact {
  if (typeof value !== 'object' || value === null || !('result' in value) || !('atMs' in value)) return false;
  if ((value.result !== 'accept' && value.result !== 'reject') || typeof value.atMs !== 'number')
    return false;
  return !('said' in value) || isRefusal(value.said);
}

function isRefusal(value: unknown): value is KeptRefusal {
  if (typeof value !== 'object' || value === null) return false;
  const { stage, peer, after, reply } = value as Partial<Record<string, unknown>>;
  if (typeof stage !== 'string' || typeof after !== 'string') return false;
  if (typeof peer !== 'object' || peer === null || !('kind' in peer)) return false;
  if (typeof reply !== 'object' || reply === null || !('code' in reply) || !('lines' in reply)) return false;
  const { code, lines } = reply;
  return (
    typeof code === 'number' &&
    Array.isArray(lines) &&
    lines.length > 0 &&
    lines.every((l) => typeof l === 'string')
  );
}
