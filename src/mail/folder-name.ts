/** Names of folders below a user's INBOX: what any mail store takes for one, by the rules and in the words of Dovecot 2.3. Pure text work. */
import { modifiedUtf7 } from './modified-utf7.ts';

export type FolderName =
  | { readonly kind: 'inbox' }
  /** From the top, each level not empty and in modified UTF-7 (ASCII), as it is written on the disk. */
  | { readonly kind: 'folder'; readonly levels: readonly [string, ...string[]] }
  | { readonly kind: 'invalid'; readonly reason: string };

/** Dovecot's limit for one level; its file system allows as many octets. */
const maxLevelOctets = 255;
const maxNameOctets = 4096;

/**
 * Takes a folder with `/` between its levels, UTF-8 octets as latin1. `INBOX` is known in any case, also as the first
 * of several levels. What a driver's own way of writing forbids (a dot, a reserved name) it checks itself.
 */
export function parseFolderName(folder: string | undefined): FolderName {
  if (folder === undefined || /^inbox$/i.test(folder)) return { kind: 'inbox' };
  if (folder === '') return invalid('Invalid mailbox name: Name is empty');
  if (folder.length > maxNameOctets) return invalid('Mailbox name too long');
  const structure = structureFault(folder, '/');
  if (structure !== undefined) return invalid(structure);
  if (folder.startsWith('~')) return invalid("Invalid mailbox name: Begins with '~'");
  if (/[\x00-\x1f]/.test(folder)) return invalid('Control characters not allowed in new mailbox names');
  const levels: string[] = [];
  for (const level of folder.split('/')) {
    const written = modifiedUtf7(level);
    if (written === undefined) return invalid('Mailbox name not valid UTF-8');
    if (written.length > maxLevelOctets) return invalid('Mailbox name too long');
    levels.push(written);
  }
  const [first = '', ...rest] = levels;
  return { kind: 'folder', levels: [first.toUpperCase() === 'INBOX' ? 'INBOX' : first, ...rest] };
}

/**
 * Turns a name as users write it, with `separator` between its levels (Dovecot's namespace setting of that name), into
 * one with `/`. A name that has a `/` of its own, where that does not separate, is no name.
 */
export function folderOf(
  text: string,
  separator: string,
): { readonly kind: 'ok'; readonly folder: string } | { readonly kind: 'invalid'; readonly reason: string } {
  if (separator === '/') return { kind: 'ok', folder: text };
  const structure = structureFault(text, separator);
  if (structure !== undefined) return invalid(structure);
  if (text.includes('/')) return invalid("Invalid mailbox name: Name must not have '/' characters");
  return { kind: 'ok', folder: text.replaceAll(separator, '/') };
}

function structureFault(text: string, separator: string): string | undefined {
  if (text.startsWith(separator)) return 'Invalid mailbox name: Begins with hierarchy separator';
  if (text.endsWith(separator)) return 'Invalid mailbox name: Ends with hierarchy separator';
  if (text.includes(separator + separator)) return 'Invalid mailbox name: Has adjacent hierarchy separators';
  return undefined;
}

function invalid(reason: string): { readonly kind: 'invalid'; readonly reason: string } {
  return { kind: 'invalid', reason };
}
