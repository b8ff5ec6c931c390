/** Who has a mailbox in a store: the directories that it names, and its rules for recipients around them. */
import type { DirectoryInstance, StoreInstance } from '../../config/model.ts';
import { withCache } from '../../directory/cache.ts';
import type { Directory } from '../../directory/directory.ts';
import { chainDirectories, createDirectory, type UserSource } from '../../directory/user-source.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';
import type { Program } from '../program.ts';
import { openUserSource } from './directory-drivers.ts';
import { withDefaults, withMaildir } from './mail-location.ts';
import { withRecipientRules } from './recipient-rules.ts';
import { known, required } from './required.ts';

/** Opens a directory by its name, or gives the one that is open: stores that ask the same have one cache and one pool of connections. */
export type OpenDirectories = (name: string) => Directory;

/** A directory is closed when all who opened it have closed it. */
export function openDirectories(program: Program, logs: Logs): OpenDirectories {
  const open = new Map<string, { readonly directory: Directory; holders: number }>();
  return (name) => {
    const instance = required(
      program.model.directories.find((d) => d.name === name),
      'stores',
      `directory ${name}`,
    );
    const one = open.get(name) ?? { directory: openOne(instance, program, logs), holders: 0 };
    open.set(name, one);
    one.holders++;
    return {
      find: (address) => one.directory.find(address),
      list: (max) => one.directory.list(max),
      async close() {
        if (--one.holders > 0) return;
        open.delete(name);
        await one.directory.close();
      },
    };
  };
}

/** The directories that a store asks, with its rules. */
export function openDirectory(store: StoreInstance, program: Program, open: OpenDirectories): Directory {
  const o = store.options;
  const all = required(o.directories, `${store.name} store`, 'directories').map(open);
  const users = withMaildir(
    chainDirectories(all),
    store.driver === 'maildir' ? store.options.maildir : undefined,
    program,
  );
  return withRecipientRules(users, o, program);
}

function openOne(instance: DirectoryInstance, program: Program, logs: Logs): Directory {
  const { name, options: o } = instance;
  const report = (text: string): void => logs.panic(logText(`${name} directory: ${text}`));
  const uid =
    o.user === undefined ? undefined : known(userNumber(o.user), `${name} directory`, `user "${o.user}"`);
  const gid =
    o.group === undefined
      ? undefined
      : known(groupNumber(o.group), `${name} directory`, `group "${o.group}"`);
  const source = withCache(openUserSource(instance, program, report), {
    maxBytes: o.cache_size,
    ttlMs: o.cache_ttl,
    negativeTtlMs: o.cache_negative_ttl,
    serveStale: o.cache_serve_stale,
  });
  if (instance.driver !== 'passwd_file') void probe(source, report);
  const directory = createDirectory(source, { format: o.username_format, chars: o.username_chars });
  return withDefaults(directory, { uid, gid, home: o.home, maildir: o.maildir }, program);
}

/** Asks for somebody, so that a source which cannot answer is told of now and not when mail comes; a passwd-file is read at once anyway. */
async function probe(source: UserSource, report: (text: string) => void): Promise<void> {
  const answer = await source.find('postmaster@localhost');
  if (answer.kind === 'unavailable') report(`${answer.reason} (mail for its users waits until it answers)`);
}
