/** Folders of a Maildir as names for quota rules. Pure text work; octets as latin1. */

/**
 * The folder that a name in a Maildir++ stands for, with `/` between its levels and in UTF-8: `.Archive.2020` gives
 * `Archive/2020`. Undefined for what is no folder to Dovecot: names without the dot, not in modified UTF-7, a second
 * INBOX, and `..DOVECOT-TRASHED`, where it puts what is about to be removed.
 */
export function folderOfName(name: string): string | undefined {
  if (!name.startsWith('.') || name === '.' || name === '..' || name === '..DOVECOT-TRASHED')
    return undefined;
  return name.toUpperCase() === '.INBOX' ? undefined : fromModifiedUtf7(name.slice(1).replaceAll('.', '/'));
}

/** RFC 3501 §5.1.3; undefined where the text is none. */
export function fromModifiedUtf7(text: string): string | undefined {
  if (!/^(?:[\x20-\x25\x27-\x7e]|&-|&[A-Za-z0-9+,]+-)*$/.test(text)) return undefined;
  return text.replace(/&([A-Za-z0-9+,]*)-/g, (_, coded: string) => {
    if (coded === '') return '&';
    const units = Buffer.from(coded.replaceAll(',', '/'), 'base64');
    return Buffer.from(
      units
        .subarray(0, units.length & ~1)
        .swap16()
        .toString('utf16le'),
      'utf8',
    ).toString('latin1');
  });
}
