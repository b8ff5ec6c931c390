/**
 * passwd: the query is a user name, the answer the user's line without the name and with `*` for the password. Read from
 * the password file itself; other sources of the name service switch are not asked.
 */
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { createFileCache, type FileCacheOptions } from './file-cache.ts';

/** @param file the password file */
export function createPasswd(file = '/etc/passwd', cacheOptions: FileCacheOptions = {}): LookupDriver {
  const cache = createFileCache('passwd', 'password lookup', parse, cacheOptions);
  return {
    type: 'passwd',
    style: 'query',
    find(_file, user): DriverAnswer {
      const got = cache.get(file);
      if (got.kind !== 'content') return got;
      const value = got.content.get(user);
      return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
    },
    close: () => cache.clear(),
  };
}

function parse(text: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [name, , ...rest] = line.split(':');
    if (name !== undefined && name !== '' && rest.length >= 5 && !users.has(name))
      users.set(name, `*:${rest.join(':')}`);
  }
  return users;
}
