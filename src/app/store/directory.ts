/** Who has a mailbox in a store: the directories that it names, and its rules for recipients around them. */
import type { DirectoryInstance, StoreInstance } from '../../config/model.ts';
import { withCache } from '../../directory/cache.ts';
import type { Directory } from '../../directory/directory.ts';
import { chainDirectories, createDirectory } from '../../directory/user-source.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';
import type { Program } from '../program.ts';
import { openUserSource } from './directory-drivers.ts';
import { withDefaults, withMaildir } from './mail-location.ts';
import { withRecipientRules } from './recipient-rules.ts';
import { required } from './required.ts';

/** Each store opens its directories for itself. */
export function openDirectory(store: StoreInstance, program: Program, logs: Logs): Directory {
  const o = store.options;
  const report = (text: string): void => logs.panic(logText(text));
  const all = required(o.directories, store.name, 'directories').map((name) =>
    openOne(
      required(
        program.model.directories.find((d) => d.name === name),
        store.name,
        `directory ${name}`,
      ),
      program,
      report,
    ),
  );
  const users = withMaildir(
    chainDirectories(all),
    store.driver === 'maildir' ? store.options.maildir : undefined,
    program,
  );
  return withRecipientRules(users, o, program);
}

function openOne(instance: DirectoryInstance, program: Program, report: (text: string) => void): Directory {
  const { name, options: o } = instance;
  const uid = o.user === undefined ? undefined : known(userNumber(o.user), name, `user "${o.user}"`);
  const gid = o.group === undefined ? undefined : known(groupNumber(o.group), name, `group "${o.group}"`);
  const source = withCache(openUserSource(instance, program, report), {
    maxBytes: o.cache_size,
    ttlMs: o.cache_ttl,
    negativeTtlMs: o.cache_negative_ttl,
    serveStale: o.cache_serve_stale,
  });
  const directory = createDirectory(source, { format: o.username_format, chars: o.username_chars });
  return withDefaults(directory, { uid, gid, home: o.home, maildir: o.maildir }, program);
}

/** Of a user or group that the option names. */
function known(number: number | undefined, directory: string, option: string): number {
  if (number === undefined) throw new Error(`${directory} directory: there is no such ${option}`);
  return number;
}
