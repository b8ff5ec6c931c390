/** One line of a Dovecot passwd-file: `user:password:uid:gid:gecos:home:shell:extra` (Dovecot manual, "Passwd-file"). */
import type { MailUser } from '../../mail/mail-user.ts';
import { expandMailLocation } from '../../mail/mail-location.ts';

/** A line with a fault keeps its user name where it has one: that user exists, so mail for it is put off, never bounced. */
export type PasswdEntry =
  | { readonly kind: 'user'; readonly user: MailUser }
  | { readonly kind: 'malformed'; readonly name: string | undefined; readonly problem: string }
  | { readonly kind: 'blank' };

/** Names of the machine's users and groups, for files that give a name where a number may stand. */
export interface SystemIds {
  uid(name: string): number | undefined;
  gid(name: string): number | undefined;
}

/** Reads one line without its line end. Only userdb fields count: passwords and passdb extras are not looked at. */
export function parsePasswdLine(line: string, ids: SystemIds): PasswdEntry {
  if (line === '' || line.charCodeAt(0) === 0x23) return { kind: 'blank' };
  const fields = line.split(':');
  const name = fields[0] ?? '';
  if (name === '') return fields.length === 1 ? { kind: 'blank' } : malformed(undefined, 'no user name');
  if (/[\s\x00-\x1f\x7f]/.test(name)) return malformed(undefined, 'white space in the user name');
  if (fields.length === 1)
    return malformed(name, 'only a user name, expected user:password:uid:gid:gecos:home:shell:extra');
  const extra = extraFields(fields.slice(7).join(':'));
  return userOf(name, fields, extra, ids);
}

function userOf(
  name: string,
  fields: readonly string[],
  extra: Record<string, string>,
  ids: SystemIds,
): PasswdEntry {
  const uid = idOf(extra['uid'] ?? fields[2] ?? '', (n) => ids.uid(n));
  if (uid === 'bad') return malformed(name, `uid is neither a number nor a user of this machine`);
  const gid = idOf(extra['gid'] ?? fields[3] ?? '', (n) => ids.gid(n));
  if (gid === 'bad') return malformed(name, `gid is neither a number nor a group of this machine`);
  const home = extra['home'] ?? fields[5] ?? '';
  if (home !== '' && (home.charCodeAt(0) !== 0x2f || /[\x00-\x1f]|(?:^|\/)\.\.(?:\/|$)/.test(home))) {
    return malformed(name, 'home is not an absolute path');
  }
  const facts = home === '' ? { username: name } : { username: name, home };
  let maildir: { readonly maildir?: string } = {};
  const mail = extra['mail'];
  if (mail !== undefined) {
    const location = expandMailLocation(mail, facts);
    if (location.kind === 'refused') return malformed(name, location.reason);
    maildir = { maildir: location.path };
  }
  const idFields = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
  return { kind: 'user', user: { ...facts, ...maildir, ...idFields, extra } };
}

function malformed(name: string | undefined, problem: string): PasswdEntry {
  return { kind: 'malformed', name, problem };
}

function idOf(text: string, named: (name: string) => number | undefined): number | undefined | 'bad' {
  if (text === '') return undefined;
  if (/^\d{1,10}$/.test(text)) {
    const value = Number(text);
    return value < 0xffffffff ? value : 'bad';
  }
  return named(text) ?? 'bad';
}

/** `userdb_` fields by name without the prefix; a field without `=` has the value `yes`, as in Dovecot. */
function extraFields(text: string): Record<string, string> {
  const found: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const field of text.split(/[ \t]+/)) {
    if (!field.startsWith('userdb_')) continue;
    const eq = field.indexOf('=');
    if (eq < 0) found[field.slice(7)] = 'yes';
    else found[field.slice(7, eq)] = field.slice(eq + 1);
  }
  return found;
}
