/** Where a store puts mail, by its options. */
import type { StoreInstance } from '../../config/model.ts';
import { openMaildirStore } from '../../store/drivers/maildir/maildir.ts';
import type { MailStore } from '../../store/mail-store.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';

export function openMailStore({ name, options: o }: StoreInstance): MailStore {
  const uid = o.user === undefined ? undefined : known(userNumber(o.user), name, `user "${o.user}"`);
  const gid = o.group === undefined ? undefined : known(groupNumber(o.group), name, `group "${o.group}"`);
  return openMaildirStore({
    fsync: o.mail_fsync,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
}

/** Of a user or group that the option names. */
function known(number: number | undefined, store: string, option: string): number {
  if (number === undefined) throw new Error(`${store} store: there is no such ${option}`);
  return number;
}
