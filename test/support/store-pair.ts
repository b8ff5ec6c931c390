// Our store and the real Dovecot's lmtp service side by side, with the same users and the same settings.
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createLmtpServer } from '../../src/lmtp/server/index.ts';
import type { Directory } from '../../src/directory/directory.ts';
import { lowerAscii, unquoteLocalPart } from '../../src/mail/local-part.ts';
import type { MailUser } from '../../src/mail/mail-user.ts';
import { openMaildirStore, type MaildirOptions } from '../../src/store/drivers/maildir/maildir.ts';
import { formatStoreEvent } from '../../src/store/events.ts';
import { createStoreHandler, type StoreHandlerOptions } from '../../src/store/lmtp-handler.ts';
import { startDovecot, type Dovecot } from './dovecot.ts';
import { lmtpTalk, type LmtpTalk } from './lmtp-talk.ts';

/** Debian's user and group `mail`. */
export const mailOwner = 8;

export interface OurStore {
  readonly socket: string;
  readonly mail: string;
  /** Log lines so far, as Dovecot would have them but for time and process. */
  readonly lines: string[];
  stop(): Promise<void>;
}

export interface OurStoreOptions {
  readonly users: readonly string[];
  readonly mail: string;
  readonly store?: Partial<MaildirOptions>;
  readonly handler?: Partial<StoreHandlerOptions>;
  /** More fields of every user. */
  readonly user?: (name: string) => Partial<MailUser>;
}

/** Our store in this process, its Maildirs at `<mail>/<user>` owned by `mail`. */
export async function startOurs(socket: string, options: OurStoreOptions): Promise<OurStore> {
  const { mail } = options;
  const lines: string[] = [];
  const users = new Set(options.users);
  const directory: Directory = {
    find({ local }) {
      const username = lowerAscii(unquoteLocalPart(local));
      return users.has(username)
        ? { kind: 'found', user: { username, extra: {}, ...options.user?.(username) } }
        : { kind: 'unknown' };
    },
    list: () => undefined,
    close: () => Promise.resolve(),
  };
  const store = openMaildirStore({
    location: `maildir:${mail}/%u`,
    uid: mailOwner,
    gid: mailOwner,
    ...options.store,
  });
  const hostname = os.hostname();
  const server = createLmtpServer(
    { hostname },
    createStoreHandler({
      directory,
      store,
      hostname,
      onEvent: (event) => lines.push(...formatStoreEvent(event, process.pid)),
      ...options.handler,
    }),
  );
  await server.listen({ kind: 'unix', path: socket });
  return {
    socket,
    mail,
    lines,
    async stop() {
      await server.close();
      await store.close();
    },
  };
}

export interface StorePair {
  readonly ours: OurStore;
  readonly theirs: Dovecot;
  /** Ours first. */
  readonly talks: readonly [LmtpTalk, LmtpTalk];
  /** The folders of mail, ours first. */
  readonly mails: readonly [string, string];
  stop(): Promise<void>;
}

/** `extra` is added to Dovecot's configuration; MAIL in it becomes its folder of mail. */
export async function startPair(
  folder: string,
  extra: string,
  options: Omit<OurStoreOptions, 'mail'>,
): Promise<StorePair> {
  chmodSync(folder, 0o755);
  const mail = path.join(folder, 'ours');
  mkdirSync(mail);
  chownSync(mail, mailOwner, mailOwner);
  const dovecotFolder = path.join(folder, 'theirs');
  const theirs = await startDovecot(dovecotFolder, {
    users: options.users,
    owner: mailOwner,
    extra: extra.replaceAll('MAIL', path.join(dovecotFolder, 'mail')),
  });
  const ours = await startOurs(path.join(folder, 'ours.sock'), { ...options, mail });
  const talks = [await lmtpTalk(ours.socket), await lmtpTalk(theirs.lmtpSocket)] as const;
  return {
    ours,
    theirs,
    talks,
    mails: [mail, theirs.mail],
    async stop() {
      await Promise.all(talks.map((talk) => talk.close()));
      await ours.stop();
      await theirs.stop();
    },
  };
}
