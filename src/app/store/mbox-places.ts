/** Where a user's mbox files lie: by his own `mail` field, as Dovecot writes it, or by the options of the store. */
import type { StoreInstance } from '../../config/model.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import { expandMailLocation } from '../../mail/mail-location.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { MboxOptions } from '../../store/drivers/mbox/mbox.ts';
import type { Program } from '../program.ts';
import { expandForUser } from './mail-location.ts';

type Places = Awaited<ReturnType<MboxOptions['locate']>>;
type Options = Extract<StoreInstance, { driver: 'mbox' }>['options'];

/** The answer is kept as long as the directory keeps the user. */
export function mboxPlaces(
  options: Options,
  program: Pick<Program, 'main' | 'services'>,
): MboxOptions['locate'] {
  const known = new WeakMap<MailUser, Awaitable<Places>>();
  return (user) => {
    let places = known.get(user);
    if (places === undefined) {
      const own = user.extra['mail'];
      if (own !== undefined) places = byLocation(own, user);
      else if (user.maildir !== undefined)
        places = { refused: `the mail of this user lies in a Maildir: ${user.maildir}` };
      else places = byOptions(options, user, program);
      known.set(user, places);
    }
    return places;
  };
}

async function byOptions(
  { mbox, mbox_folders: folders }: Options,
  user: MailUser,
  program: Pick<Program, 'main' | 'services'>,
): Promise<Places> {
  if (mbox === undefined)
    return { refused: 'neither the option mbox nor the entry of the user says where the mail lies' };
  const inbox = await expandForUser('mbox', mbox, user, program);
  if (inbox.kind !== 'path') return { refused: reasonOf(inbox) };
  if (folders === undefined) return { inbox: inbox.path };
  const root = await expandForUser('mbox_folders', folders, user, program);
  return root.kind === 'path' ? { inbox: inbox.path, folders: root.path } : { refused: reasonOf(root) };
}

function reasonOf(
  answer: { readonly kind: 'unknown' } | { readonly kind: 'unavailable'; readonly reason: string },
): string {
  return answer.kind === 'unavailable' ? answer.reason : 'the user name cannot be part of a path';
}

/** `mbox:~/mail:INBOX=/var/mail/%u`; without INBOX= it is the file `inbox` among the folders, as in Dovecot. */
function byLocation(text: string, user: MailUser): Places {
  if (!text.startsWith('mbox:')) return { refused: `mail location "${text}" is not of the mbox format` };
  const found = expandMailLocation(`maildir:${text.slice('mbox:'.length)}`, user);
  if (found.kind === 'refused') return { refused: found.reason };
  if (found.layout === 'maildir++')
    return { refused: `mail location "${text}" has a layout that is not supported` };
  return { inbox: found.inbox ?? `${found.path}/inbox`, folders: found.path };
}
