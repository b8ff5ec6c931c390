/** Kept answers of a directory: Dovecot's auth_cache_size, auth_cache_ttl, auth_cache_negative_ttl (manual, "Caching"). */
import type { Awaitable } from '../mail/awaitable.ts';
import type { MailUser } from '../mail/mail-user.ts';
import type { DirectoryAnswer } from './directory.ts';
import { unavailable, type UserSource } from './user-source.ts';

export interface CacheOptions {
  /** Octets, by estimate; 0: nothing is kept. The answers not used for longest go first. */
  readonly maxBytes: number;
  /** How long a user counts as found. */
  readonly ttlMs: number;
  /** How long nobody counts as unknown; 0: that is not kept. */
  readonly negativeTtlMs: number;
  /** A user found before is found again, however long ago, while the source is unavailable. */
  readonly serveStale: boolean;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

interface Kept {
  readonly answer: DirectoryAnswer;
  readonly until: number;
  readonly bytes: number;
}

/**
 * Shares one question among those who ask for the same user at once, and keeps what was answered. `unavailable` is never
 * kept, and an outdated `unknown` never used. A source whose promise is rejected is unavailable.
 */
export function withCache(source: UserSource, options: CacheOptions): UserSource {
  const { maxBytes, ttlMs, negativeTtlMs, serveStale, nowMs = () => performance.now() } = options;
  const kept = new Map<string, Kept>();
  const asked = new Map<string, Promise<DirectoryAnswer>>();
  let bytes = 0;

  const drop = (name: string, old: Kept): void => {
    kept.delete(name);
    bytes -= old.bytes;
  };
  const keep = (name: string, answer: DirectoryAnswer): void => {
    const old = kept.get(name);
    if (old !== undefined) drop(name, old);
    const lifeMs = answer.kind === 'found' ? ttlMs : negativeTtlMs;
    if (lifeMs <= 0) return;
    const size = sizeOf(name, answer);
    kept.set(name, { answer, until: nowMs() + lifeMs, bytes: size });
    bytes += size;
    for (const [oldest, entry] of kept) {
      if (bytes <= maxBytes) break;
      drop(oldest, entry);
    }
  };
  const take = (name: string, answer: DirectoryAnswer): DirectoryAnswer => {
    if (maxBytes <= 0) return answer;
    if (answer.kind !== 'unavailable') {
      keep(name, answer);
      return answer;
    }
    const old = kept.get(name);
    return serveStale && old?.answer.kind === 'found' ? old.answer : answer;
  };

  return {
    find(name): Awaitable<DirectoryAnswer> {
      const old = kept.get(name);
      if (old !== undefined && old.until > nowMs()) {
        kept.delete(name);
        kept.set(name, old);
        return old.answer;
      }
      const under = asked.get(name);
      if (under !== undefined) return under;
      const answer = source.find(name);
      if (!(answer instanceof Promise)) return take(name, answer);
      const shared = answer.catch(unavailable).then((a) => {
        asked.delete(name);
        return take(name, a);
      });
      asked.set(name, shared);
      return shared;
    },
    list: (max) => source.list(max),
    close: () => source.close(),
  };
}

/** What an entry costs, roughly: its texts and the objects around them. */
function sizeOf(name: string, answer: DirectoryAnswer): number {
  return 120 + name.length + (answer.kind === 'found' ? userBytes(answer.user) : 0);
}

function userBytes(user: MailUser): number {
  let bytes = 200 + user.username.length + (user.home?.length ?? 0) + (user.maildir?.length ?? 0);
  for (const [field, value] of Object.entries(user.extra)) bytes += 32 + field.length + value.length;
  return bytes;
}
