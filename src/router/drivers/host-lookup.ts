/** IP addresses of hosts: by the system's resolver (`byname`) or directly in the DNS (`bydns`). */
import { lookup as systemLookup, promises as dns } from 'node:dns';
import { isIP } from 'node:net';
import { timerMs } from '../../mail/time-interval.ts';

export type HostAnswer =
  | { readonly kind: 'found'; readonly addresses: readonly string[] }
  /** There is no such host, or it has no address. */
  | { readonly kind: 'missing' }
  /** It could not be found out now. */
  | { readonly kind: 'defer'; readonly reason: string };

export interface HostQuestion {
  readonly name: string;
  readonly how: 'byname' | 'bydns';
  readonly ipv4?: 'only' | 'prefer';
}

export type HostLookup = (question: HostQuestion, signal: AbortSignal) => Promise<HostAnswer>;

/** The address that a text is, in the form sockets take; undefined for a name. Brackets are no part of an address. */
export function asIpAddress(name: string): string | undefined {
  const version = isIP(name);
  if (version === 4) return name;
  if (version === 6) return name.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
  return undefined;
}

export interface HostLookupOptions {
  /** Longest wait for one host; then the answer is `defer`. */
  readonly timeoutMs: number;
  /** How many look-ups may be under way at one time; they occupy threads. */
  readonly maxConcurrent: number;
}

/**
 * Makes a look-up function. Equal questions at one time share one answer; nothing is kept longer, since the system's
 * resolver and the DNS servers do that.
 */
export function createHostLookup(options: HostLookupOptions): HostLookup {
  const underWay = new Map<string, Promise<HostAnswer>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  const start = async (question: HostQuestion): Promise<HostAnswer> => {
    if (running >= options.maxConcurrent) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    try {
      return await withDeadline(
        question.how === 'byname' ? byName(question.name) : byDns(question),
        options.timeoutMs,
      );
    } finally {
      running--;
      waiting.shift()?.();
    }
  };

  return (question, signal) => {
    signal.throwIfAborted();
    const key = `${question.how} ${question.ipv4 ?? ''} ${question.name.toLowerCase()}`;
    let answer = underWay.get(key);
    if (answer === undefined) {
      answer = start(question).finally(() => underWay.delete(key));
      underWay.set(key, answer);
    }
    return answer;
  };
}

async function withDeadline(work: Promise<HostAnswer>, timeoutMs: number): Promise<HostAnswer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<HostAnswer>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'defer', reason: 'host lookup timed out' }), timerMs(timeoutMs));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function byName(name: string): Promise<HostAnswer> {
  return new Promise((resolve) => {
    systemLookup(name, { all: true, verbatim: true }, (failure, addresses) => {
      if (failure !== null) resolve(fromError(failure));
      else resolve({ kind: 'found', addresses: unique(addresses.map((a) => a.address)) });
    });
  });
}

async function byDns(question: HostQuestion): Promise<HostAnswer> {
  const ask = async (resolve: (name: string) => Promise<string[]>): Promise<HostAnswer> => {
    try {
      return { kind: 'found', addresses: await resolve(question.name) };
    } catch (failure) {
      return fromError(failure);
    }
  };
  const a = ask(dns.resolve4);
  const answers =
    question.ipv4 === 'only'
      ? [await a]
      : question.ipv4 === 'prefer'
        ? await Promise.all([a, ask(dns.resolve6)])
        : await Promise.all([ask(dns.resolve6), a]);
  const found = answers.flatMap((answer) => (answer.kind === 'found' ? answer.addresses : []));
  if (found.length > 0) return { kind: 'found', addresses: unique(found) };
  return answers.find((answer) => answer.kind === 'defer') ?? { kind: 'missing' };
}

/** Codes of getaddrinfo and c-ares that mean a definite no. */
const definite: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'ENODATA',
  'EAI_NONAME',
  'EAI_NODATA',
  'EBADNAME',
]);

function fromError(failure: unknown): HostAnswer {
  const code =
    failure instanceof Error && 'code' in failure && typeof failure.code === 'string' ? failure.code : '';
  if (definite.has(code)) return { kind: 'missing' };
  return { kind: 'defer', reason: code === '' ? String(failure) : code };
}

function unique(addresses: readonly string[]): string[] {
  return [...new Set(addresses)];
}
