/** Where a folder lies in a Maildir: Dovecot's layouts `Maildir++` (`.Archive.2020`) and `fs` (`Archive/2020`). Pure text work. */
import { parseFolderName } from '../../../mail/folder-name.ts';

/** Dovecot's `LAYOUT=`. */
export type Layout = 'maildir++' | 'fs';

export interface FolderPath {
  readonly layout: Layout;
  /** Names from the Maildir down, ASCII, none with a `/`, none `.` or `..`. */
  readonly names: readonly [string, ...string[]];
  /** The folder above as a name in the Maildir, whose mode a new folder gets where it exists: Maildir++ only. */
  readonly parent?: string;
  /** The levels in modified UTF-7, for the list of subscriptions. */
  readonly levels: readonly string[];
}

export type FolderPlace =
  | { readonly kind: 'inbox' }
  | { readonly kind: 'folder'; readonly path: FolderPath }
  | { readonly kind: 'invalid'; readonly reason: string };

/** @param folder the port's name of a folder: levels parted by `/` */
export function placeOfFolder(folder: string | undefined, layout: Layout): FolderPlace {
  const name = parseFolderName(folder);
  if (name.kind !== 'folder') return name;
  return layout === 'fs' ? inFolders(name.levels) : inMaildir(name.levels);
}

const maxNameOctets = 255;

function inMaildir(levels: readonly string[]): FolderPlace {
  if (levels.some((level) => level.includes('.')))
    return invalid("Character not allowed in mailbox name: '.'");
  const name = `.${levels.join('.')}`;
  if (name.length > maxNameOctets) return invalid('Mailbox name too long');
  const above = levels.slice(0, -1);
  return {
    kind: 'folder',
    path: {
      layout: 'maildir++',
      names: [name],
      ...(above.length === 0 ? {} : { parent: `.${above.join('.')}` }),
      levels,
    },
  };
}

function inFolders(levels: readonly [string, ...string[]]): FolderPlace {
  for (const level of levels) {
    if (level === '.' || level === '..') return invalid(`Invalid mailbox name: Contains '${level}' part`);
    if (reserved.test(level)) return invalid('Invalid mailbox name: Contains reserved name');
  }
  return { kind: 'folder', path: { layout: 'fs', names: levels, levels } };
}

/** A Maildir's own folders, and beyond Dovecot's rule the files that it keeps beside them: a folder in their place would break the mailbox. */
const reserved =
  /^(?:cur|new|tmp|dovecot[.-].*|subscriptions(?:\.lock)?|maildirsize|maildirfolder|mailboxes\.lock)$/;

function invalid(reason: string): FolderPlace {
  return { kind: 'invalid', reason };
}
