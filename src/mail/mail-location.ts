/** Where a user's mail lies: Dovecot's `mail_location` values of the Maildir kind, with its variables. Pure text work. */

/** Absolute paths, or why there are none; the reason is for the log. */
export type MailLocation =
  | {
      readonly kind: 'ok';
      readonly path: string;
      /** `LAYOUT=`: how folders lie below the path. Absent where the location does not say it, which means `maildir++`. */
      readonly layout?: 'maildir++' | 'fs';
      /** `INBOX=`: where the INBOX is, when that is not the path itself. */
      readonly inbox?: string;
    }
  | { readonly kind: 'refused'; readonly reason: string };

export interface LocationFacts {
  /** The user name: `%u`, its part before the last `@` `%n`, the part after it `%d`. */
  readonly username: string;
  /** `%h` and a leading `~`. */
  readonly home?: string;
}

/**
 * Expands a Maildir location such as `maildir:/var/vmail/%d/%n`, `maildir:~/Maildir` or `/var/vmail/%u`.
 *
 * Variables are Dovecot's `%u %n %d %h %%`, with the modifiers `L` and `U` for case. What comes from the user name must
 * be one path segment (no `/`, no NUL or control octet, no leading dot, not empty), so no name leads out of the folder
 * that the administrator wrote; the rest of the template is trusted. `:LAYOUT=fs`, `:LAYOUT=maildir++` and `:INBOX=path`
 * may follow; other suffixes such as `:DIRNAME=` are refused, for they would change where Dovecot looks and we would not follow.
 */
export function expandMailLocation(template: string, user: LocationFacts): MailLocation {
  const [text = '', ...suffixes] = (
    template.startsWith('maildir:') ? template.slice('maildir:'.length) : template
  ).split(':');
  const found = expandPath(template, text, user);
  if (found.kind === 'refused') return found;
  let layout: 'maildir++' | 'fs' | undefined;
  let inbox: string | undefined;
  for (const suffix of suffixes) {
    const [, key, value = ''] = /^(LAYOUT|INBOX)=(.+)$/.exec(suffix) ?? [];
    if (key === 'LAYOUT' && /^(?:maildir\+\+|fs)$/i.test(value)) {
      layout = value.toLowerCase() === 'fs' ? 'fs' : 'maildir++';
    } else if (key === 'INBOX') {
      const place = expandPath(template, value, user);
      if (place.kind === 'refused') return place;
      inbox = place.path;
    } else return refused(`mail location "${template}" has options or a format that is not supported`);
  }
  return {
    ...found,
    ...(layout === undefined ? {} : { layout }),
    ...(inbox === undefined ? {} : { inbox }),
  };
}

function expandPath(template: string, text: string, user: LocationFacts): MailLocation {
  let fault: string | undefined;
  const expanded = text.replace(
    /^~(?=\/|$)|%([LU]?)(.?)/g,
    (whole: string, modifier: string, name: string) => {
      const value = whole === '~' ? homeOf(user) : variable(name, user);
      if (typeof value === 'string')
        return modifier === 'L' ? lower(value) : modifier === 'U' ? upper(value) : value;
      fault ??= value.fault;
      return '';
    },
  );
  if (fault !== undefined) return refused(fault);
  if (expanded.charCodeAt(0) !== slash)
    return refused(`mail location "${template}" does not give an absolute path`);
  if (/[\x00-\x1f\x7f]/.test(expanded)) return refused('mail location has a control character');
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(expanded))
    return refused(`mail location "${template}" has a "." or ".." segment`);
  return {
    kind: 'ok',
    path: expanded.length > 1 && expanded.endsWith('/') ? expanded.slice(0, -1) : expanded,
  };
}

/** True where a text may stand as one segment of a mailbox path. */
export function isSafeSegment(text: string): boolean {
  return text !== '' && text.length <= 255 && text.charCodeAt(0) !== dot && !/[/\x00-\x1f\x7f]/.test(text);
}

const slash = 0x2f;
const dot = 0x2e;

function refused(reason: string): MailLocation {
  return { kind: 'refused', reason };
}

type Value = string | { readonly fault: string };

function homeOf(user: LocationFacts): Value {
  return user.home ?? { fault: 'mail location needs a home directory, and the user has none' };
}

function segment(text: string, what: string): Value {
  return isSafeSegment(text) ? text : { fault: `${what} "${printable(text)}" cannot be part of a path` };
}

function variable(name: string, user: LocationFacts): Value {
  const at = user.username.lastIndexOf('@');
  switch (name) {
    case 'u':
      return segment(user.username, 'user name');
    case 'n':
      return segment(at < 0 ? user.username : user.username.slice(0, at), 'user name');
    case 'd':
      return segment(at < 0 ? '' : user.username.slice(at + 1), 'domain');
    case 'h':
      return homeOf(user);
    case '%':
      return '%';
    default:
      return { fault: `mail location has the unknown variable %${printable(name)}` };
  }
}

function lower(text: string): string {
  return text.replace(/[A-Z]+/g, (s) => s.toLowerCase());
}

function upper(text: string): string {
  return text.replace(/[a-z]+/g, (s) => s.toUpperCase());
}

function printable(text: string): string {
  return text.slice(0, 80).replace(/[\x00-\x1f\x7f]/g, '?');
}
