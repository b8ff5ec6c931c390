/** Usage of mbox files by their sizes, as Dovecot's `quota = dirsize` counts them: octets only, no messages. */
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import type { Awaitable } from '../../mail/awaitable.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import { failureCode } from '../drivers/maildir/failure.ts';
import { fromModifiedUtf7 } from './folder-names.ts';
import { limitsOf } from './rules.ts';
import type { Figures, UsageSource } from './usage.ts';

/** Absolute paths, as Node writes them. */
export interface MboxFiles {
  readonly inbox: string;
  readonly folders?: string;
}

/** Files beside mailboxes that are none. */
const noMailbox = /^\.|\.lock$/;
/** Bound for what one user may have. */
const maxFiles = 100_000;

/** @param locate rejects where a user has no mail here */
export function mboxSource(locate: (user: MailUser) => Awaitable<MboxFiles>): UsageSource {
  return {
    counts: 'stored',
    countsMessages: false,
    keeps: false,
    key: (user) => `mbox ${user.username}`,
    kept: () => undefined,
    async count(user, rules, signal): Promise<Figures> {
      const { inbox, folders } = await locate(user);
      let bytes = 0;
      let files = 0;
      const add = async (path: string, folder: string | undefined): Promise<void> => {
        signal.throwIfAborted();
        if (++files > maxFiles) throw new Error(`more than ${maxFiles} mailboxes`);
        if (!limitsOf(rules, rules.limits, folder).ignored) bytes += await sizeOf(path);
      };
      const visit = async (path: string, above: string): Promise<void> => {
        for (const entry of await entriesOf(path)) {
          const name = fromModifiedUtf7(entry.name);
          const at = `${path}/${entry.name}`;
          if (name === undefined || noMailbox.test(entry.name) || at === inbox) continue;
          // Links are not followed: they may be the user's.
          if (entry.isDirectory()) await visit(at, `${above}${name}/`);
          else if (entry.isFile()) await add(at, above + name);
        }
      };
      await add(inbox, undefined);
      if (folders !== undefined) await visit(folders, '');
      return { used: { bytes, messages: 0 }, limits: rules.limits };
    },
    add: () => undefined,
    close: () => undefined,
  };
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await lstat(path);
    return found.isFile() ? found.size : 0;
  } catch (error) {
    if (isGone(error)) return 0;
    throw error;
  }
}

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return failureCode(error) === 'ENOENT' || failureCode(error) === 'ENOTDIR';
}
