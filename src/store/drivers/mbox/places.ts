/** Where a user's mailboxes lie as mbox files: the INBOX in one place, the folders below another. Pure text work. */
import { assertNever } from '../../../mail/assert-never.ts';
import { parseFolderName } from '../../../mail/folder-name.ts';

export interface MboxPlaces {
  /** Absolute path of the INBOX, octets as latin1. */
  readonly inbox: string;
  /** Absolute path of the folder that has the other mailboxes; without it there are none. */
  readonly folders?: string;
}

export type MailboxFile =
  | { readonly kind: 'inbox'; readonly path: string; readonly ownFolder: boolean }
  /** Its levels as they are written on the disk, below the user's `folders`. */
  | {
      readonly kind: 'folder';
      readonly path: string;
      /** It lies below the user's own folder. */
      readonly ownFolder: true;
      readonly folders: string;
      readonly levels: readonly string[];
    }
  /** Nobody can have mail there. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The name of the folder cannot be one. */
  | { readonly kind: 'no-folder'; readonly reason: string };

/** A lock file and the like beside it need room in a name. */
const maxNameOctets = 230;
/** Dovecot's own files beside mailboxes. */
const reserved = /^(?:\.{1,2}|\.imap|\.subscriptions|.*\.lock)$/;

/** The path as Node writes it. @param folder the port's name, undefined for INBOX */
export function mailboxFile(places: MboxPlaces, folder: string | undefined): MailboxFile {
  const name = parseFolderName(folder);
  switch (name.kind) {
    case 'inbox': {
      const path = nodePath(places.inbox);
      const ownFolder = places.folders !== undefined && places.inbox.startsWith(`${places.folders}/`);
      return typeof path === 'string' ? { kind: 'inbox', path, ownFolder } : path;
    }
    case 'invalid':
      return { kind: 'no-folder', reason: name.reason };
    case 'folder': {
      if (places.folders === undefined)
        return { kind: 'no-folder', reason: 'there are no folders but INBOX' };
      const { levels } = name;
      if (levels.some((level) => reserved.test(level) || level.length > maxNameOctets))
        return { kind: 'no-folder', reason: 'Invalid mailbox name: Contains reserved name' };
      const folders = nodePath(places.folders);
      return typeof folders === 'string'
        ? { kind: 'folder', path: `${folders}/${levels.join('/')}`, ownFolder: true, folders, levels }
        : folders;
    }
    default:
      return assertNever(name);
  }
}

function nodePath(octets: string): string | Extract<MailboxFile, { kind: 'refused' }> {
  if (!octets.startsWith('/') || octets.endsWith('/'))
    return { kind: 'refused', reason: `"${octets}" is not an absolute path of a file` };
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(octets) || /[\x00-\x1f\x7f]/.test(octets))
    return { kind: 'refused', reason: 'the path of the mailbox has a "." or ".." or a control character' };
  try {
    return strictUtf8.decode(Buffer.from(octets, 'latin1'));
  } catch {
    return { kind: 'refused', reason: 'the path of the mailbox is not UTF-8' };
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });
