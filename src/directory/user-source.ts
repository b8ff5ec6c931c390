/** What a directory driver is: it answers for names of users. Rules for addresses and the cache are put around it. */
import type { Address } from '../mail/address.ts';
import type { Awaitable } from '../mail/awaitable.ts';
import { errorText } from '../mail/error-text.ts';
import type { Directory, DirectoryAnswer } from './directory.ts';
import { type UsernameRules, usernameRule } from './username.ts';

export interface UserSource {
  /**
   * @param username after case and domain rules; any octets
   * @returns `unknown` only where the source said so; everything else that gives no user is `unavailable`
   */
  find(username: string): Awaitable<DirectoryAnswer>;
  /** See {@link Directory.list}. */
  list(max: number): readonly string[] | undefined;
  close(): Promise<void>;
}

const unknown: DirectoryAnswer = { kind: 'unknown' };

/** Throws where the rules are malformed, which the check of a configuration tells before. */
export function createDirectory(source: UserSource, rules: UsernameRules = {}): Directory {
  const usernameOf = usernameRule(rules);
  if (typeof usernameOf === 'string') throw new Error(`username_format: ${usernameOf}`);
  return {
    find(address: Address) {
      const name = usernameOf(address);
      return name === undefined || name === '' ? unknown : source.find(name);
    },
    list: (max) => source.list(max),
    close: () => source.close(),
  };
}

/** Asks one after the other: `found` and `unavailable` end it, `unknown` goes on. */
export function askInOrder<T>(
  all: readonly T[],
  ask: (one: T) => Awaitable<DirectoryAnswer>,
  from = 0,
): Awaitable<DirectoryAnswer> {
  for (let i = from; i < all.length; i++) {
    const answer = ask(all[i] as T);
    if (answer instanceof Promise)
      return answer.then((a) => (a.kind === 'unknown' ? askInOrder(all, ask, i + 1) : a));
    if (answer.kind !== 'unknown') return answer;
  }
  return unknown;
}

/** Several directories as one. */
export function chainDirectories(all: readonly Directory[]): Directory {
  const [only] = all;
  if (only !== undefined && all.length === 1) return only;
  return {
    find: (address) => askInOrder(all, (directory) => directory.find(address)),
    list: (max) => listAll(all, max),
    async close() {
      await Promise.all(all.map((directory) => directory.close()));
    },
  };
}

/** Names of all; undefined where one cannot list. */
export function listAll(all: readonly Pick<Directory, 'list'>[], max: number): readonly string[] | undefined {
  const names = new Set<string>();
  for (const one of all) {
    const some = one.list(max);
    if (some === undefined) return undefined;
    for (const name of some) if (names.size < max) names.add(name);
  }
  return [...names];
}

/** What was thrown, as an answer. */
export function unavailable(thrown: unknown): DirectoryAnswer {
  return { kind: 'unavailable', reason: typeof thrown === 'string' ? thrown : errorText(thrown) };
}
