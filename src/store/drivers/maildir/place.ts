/** Where mail for a recipient goes in Maildirs, and who shall own it. */
import { assertNever } from '../../../mail/assert-never.ts';
import { expandMailLocation } from '../../../mail/mail-location.ts';
import type { MailLocation } from '../../../mail/mail-location.ts';
import type { MailUser } from '../../../mail/mail-user.ts';
import type { StoreRecipient } from '../../mail-store.ts';
import { placeOfFolder } from './folder-path.ts';
import type { Layout } from './folder-path.ts';
import type { Place } from './mailbox.ts';
import type { Owner } from './walk.ts';

type FoundPlace =
  | { readonly kind: 'ok'; readonly place: Place }
  | { readonly kind: 'invalid'; readonly reason: string };

/** @param layout of users of whom nothing else is said */
export function placeOf(
  location: FoundLocation,
  owner: Owner | undefined,
  { folder }: StoreRecipient,
  layout: Layout = 'maildir++',
): FoundPlace {
  const found = folder === undefined ? inbox : placeOfFolder(folder, location.layout ?? layout);
  switch (found.kind) {
    case 'inbox':
      return { kind: 'ok', place: { root: location.inbox ?? location.path, owner } };
    case 'folder': {
      const apart = location.inbox === undefined ? {} : { inboxApart: true as const };
      return { kind: 'ok', place: { root: location.path, owner, folder: found.path, ...apart } };
    }
    case 'invalid':
      return found;
    default:
      return assertNever(found);
  }
}

const inbox = { kind: 'inbox' } as const;

/**
 * Who shall own the mail of a user, by the user's entry or these options. In a process that is not root's nobody does: files
 * belong to the process.
 */
export function ownerRule(options: {
  readonly uid?: number;
  readonly gid?: number;
}): (user: MailUser) => Owner | undefined {
  if (process.geteuid?.() !== 0) return () => undefined;
  return (user) => {
    const uid = user.uid ?? options.uid;
    const gid = user.gid ?? options.gid;
    // Mail of root in folders of root needs no change of owner.
    return uid === undefined || gid === undefined || (uid === 0 && gid === 0) ? undefined : { uid, gid };
  };
}

/** Finds a user's Maildir; the answer is kept as long as the directory keeps the user, since expansion costs as much as the write. */
export function maildirRule(location: string | undefined): (user: MailUser) => MailLocation {
  const known = new WeakMap<MailUser, MailLocation>();
  return (user) => {
    let found = known.get(user);
    if (found === undefined) {
      found = asNodePath(user.maildir === undefined ? locationOf(location, user) : ownLocation(user));
      known.set(user, found);
    }
    return found;
  };
}

function ownLocation({ maildir = '', maildirLayout, inbox: apart }: MailUser): MailLocation {
  return {
    kind: 'ok',
    path: maildir,
    ...(maildirLayout === undefined ? {} : { layout: maildirLayout }),
    ...(apart === undefined ? {} : { inbox: apart }),
  };
}

function locationOf(location: string | undefined, user: MailUser): MailLocation {
  const other = user.extra['mail'];
  if (other !== undefined) return { kind: 'refused', reason: `mail location "${other}" is not a Maildir` };
  if (location === undefined)
    return {
      kind: 'refused',
      reason: 'neither an option maildir nor the entry of the user says where the mail lies',
    };
  return expandMailLocation(location, user);
}

type FoundLocation = Extract<MailLocation, { kind: 'ok' }>;

/** Node writes paths as UTF-8: octets of a user name beyond ASCII must be that, or there is no such path. */
function asNodePath(location: MailLocation): MailLocation {
  if (location.kind === 'refused' || /^[\x00-\x7f]*$/.test(location.path + (location.inbox ?? '')))
    return location;
  const decode = (path: string): string => strictUtf8.decode(Buffer.from(path, 'latin1'));
  try {
    return {
      ...location,
      path: decode(location.path),
      ...(location.inbox === undefined ? {} : { inbox: decode(location.inbox) }),
    };
  } catch {
    return { kind: 'refused', reason: 'the path of the mailbox is not UTF-8' };
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });
