/** Where a store puts mail, by its options. */
import type { StoreInstance } from '../../config/model.ts';
import { openMaildirStore } from '../../store/drivers/maildir/maildir.ts';
import type { LockKind } from '../../store/drivers/mbox/lock.ts';
import { openMboxStore } from '../../store/drivers/mbox/mbox.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { MailStore } from '../../store/mail-store.ts';
import type { Program } from '../program.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';
import { mboxPlaces } from './mbox-places.ts';
import { known } from './required.ts';

export function openMailStore(
  instance: StoreInstance,
  program: Program,
  onProblem: (text: string) => void,
): MailStore {
  const { name, options: o } = instance;
  const uid =
    o.user === undefined ? undefined : known(userNumber(o.user), `${name} store`, `user "${o.user}"`);
  const gid =
    o.group === undefined ? undefined : known(groupNumber(o.group), `${name} store`, `group "${o.group}"`);
  const common = {
    fsync: o.mail_fsync,
    onProblem,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
  switch (instance.driver) {
    case 'maildir':
      return openMaildirStore({ ...common, layout: instance.options.maildir_layout });
    case 'mbox': {
      const own = instance.options;
      return openMboxStore({
        ...common,
        locate: mboxPlaces(own, program),
        locks: mboxLocks(own.mbox_write_locks, name),
        lockTimeoutMs: own.mbox_lock_timeout,
        dotlockChangeTimeoutMs: own.mbox_dotlock_change_timeout,
      });
    }
    default:
      return assertNever(instance);
  }
}

const lockKinds: readonly LockKind[] = ['dotlock', 'fcntl', 'flock'];

/** `mailchute check` finds others before. */
function mboxLocks(words: readonly string[], store: string): readonly LockKind[] {
  return words.map((word) => {
    const kind = lockKinds.find((k) => k === word);
    if (kind === undefined) throw new Error(`${store} store: mbox_write_locks: there is no lock "${word}"`);
    return kind;
  });
}
