// Our store as a process of its own, with the real Dovecot beside it to read by IMAP what it wrote.
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { storesSection, type StoreAddress } from './configurations.ts';
import { startDovecot, type Dovecot } from './dovecot.ts';
import { startMailchute, type Mailchute } from './mailchute.ts';
import { freePort } from './process.ts';

export interface ReadStore {
  readonly address: StoreAddress;
  readonly store: Mailchute;
  readonly dovecot: Dovecot;
  /** Where the Maildirs are. */
  readonly mail: string;
  stop(): Promise<void>;
}

/** Debian's user and group `mail`. */
const mailOwner = 8;

/** A store section's options for mail that belongs to Debian's user `mail`, as Dovecot reads it here. */
export const ownedByMail = `        user = mail
        group = mail
`;

export function writeUsers(folder: string, users: readonly string[]): void {
  writeFileSync(path.join(folder, 'users'), users.map((u) => `${u}:{PLAIN}secret:::::\n`).join(''));
}

/** Starts both in `folder`. */
export async function startReadStore(folder: string, users: readonly string[]): Promise<ReadStore> {
  const mail = path.join(folder, 'mail');
  mkdirSync(mail, { recursive: true });
  chmodSync(folder, 0o755);
  // Dovecot makes a Maildir for whoever looks before mail has come.
  chownSync(mail, mailOwner, mailOwner);
  writeUsers(folder, users);
  const address = { port: await freePort(), socket: path.join(folder, 'lmtp') };
  const store = await startMailchute(folder, '', storesSection(address, folder, ownedByMail));
  const dovecot = await startDovecot(path.join(folder, 'reader'), { users, mail });
  return {
    address,
    store,
    dovecot,
    mail,
    async stop() {
      await dovecot.stop();
      await store.stop();
    },
  };
}
