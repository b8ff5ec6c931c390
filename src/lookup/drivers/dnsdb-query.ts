/** Queries of dnsdb: `>: defer_strict,mx=a.test:b.test` (Exim manual, "More about dnsdb", "Dnsdb lookup modifiers"). */
import { readList } from '../../mail/list-text.ts';
import { parseTimeInterval } from '../../mail/time-interval.ts';

export const dnsdbTypes = [
  'a',
  'a+',
  'aaaa',
  'cname',
  'csa',
  'mx',
  'mxh',
  'ns',
  'ptr',
  'soa',
  'spf',
  'srv',
  'tlsa',
  'txt',
  'zns',
] as const;
export type DnsdbType = (typeof dnsdbTypes)[number];

export interface DnsdbQuery {
  readonly type: DnsdbType;
  readonly names: readonly string[];
  /** Between records. */
  readonly separator: string;
  /** Between the fields of a record; undefined: as the type has it. */
  readonly fieldSeparator: string | undefined;
  readonly defer: 'strict' | 'lax' | 'never';
  readonly dnssec: 'strict' | 'lax' | 'never';
  readonly timeoutMs: number | undefined;
  readonly attempts: number | undefined;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Modifiers = Writable<Pick<DnsdbQuery, 'defer' | 'dnssec' | 'timeoutMs' | 'attempts'>>;

/** Reads a query; a text says what is wrong with it, in Exim's words. */
export function parseDnsdbQuery(text: string): DnsdbQuery | string {
  let rest = text.trimStart();
  let separator = '\n';
  let fieldSeparator: string | undefined;
  if (rest.startsWith('>') && rest.length > 1) {
    separator = rest.charAt(1);
    rest = rest.slice(2);
    if (rest.startsWith(',') && rest.length > 1) {
      fieldSeparator = rest.charAt(1);
      rest = rest.slice(2);
    } else if (rest.startsWith(';')) {
      fieldSeparator = '';
      rest = rest.slice(1);
    }
    rest = rest.trimStart();
  }
  const modifiers: Modifiers = { defer: 'lax', dnssec: 'lax', timeoutMs: undefined, attempts: undefined };
  for (;;) {
    const m = /^(defer|dnssec|retrans|retry)_([^,]*),?\s*/i.exec(rest);
    if (m === null) break;
    const problem = setModifier(modifiers, (m[1] ?? '').toLowerCase(), (m[2] ?? '').trim());
    if (problem !== undefined) return problem;
    rest = rest.slice(m[0].length);
  }
  let type: DnsdbType = 'txt';
  const equals = rest.indexOf('=');
  if (equals >= 0) {
    const word = rest.slice(0, equals).trim().toLowerCase();
    const known = dnsdbTypes.find((t) => t === word);
    if (known === undefined) return 'unsupported DNS record type';
    type = known;
    rest = rest.slice(equals + 1).trimStart();
  }
  return { ...modifiers, type, separator, fieldSeparator, names: namesOf(type, rest) };
}

/** A list, but for PTR one IPv6 address is not taken apart at its colons. */
function namesOf(type: DnsdbType, text: string): readonly string[] {
  const one = text.trim();
  if (type === 'ptr' && /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(one) && isAddress(one)) return [one];
  return readList(text).items;
}

/** Eight groups, or fewer around one `::`. */
function isAddress(text: string): boolean {
  const halves = text.split('::');
  const groups = text.split(':').filter((g) => g !== '').length;
  return halves.length === 2 ? groups < 8 : halves.length === 1 && groups === 8;
}

function setModifier(modifiers: Modifiers, name: string, value: string): string | undefined {
  const level = /^(?:strict|lax|never)$/i.test(value)
    ? (value.toLowerCase() as 'strict' | 'lax' | 'never')
    : undefined;
  switch (name) {
    case 'defer':
      if (level === undefined) return 'unsupported dnsdb defer behaviour';
      modifiers.defer = level;
      return undefined;
    case 'dnssec':
      if (level === undefined) return 'unsupported dnsdb dnssec behaviour';
      modifiers.dnssec = level;
      return undefined;
    case 'retrans': {
      const ms = parseTimeInterval(value);
      if (ms === undefined || ms <= 0) return 'unsupported dnsdb timeout value';
      modifiers.timeoutMs = Math.min(ms, 60_000);
      return undefined;
    }
    default:
      if (!/^\d+$/.test(value)) return 'unsupported dnsdb retry count';
      modifiers.attempts = Math.min(Math.max(Number(value), 1), 10);
      return undefined;
  }
}
