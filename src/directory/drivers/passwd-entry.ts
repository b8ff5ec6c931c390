/** One line of a Dovecot passwd-file: `user:password:uid:gid:gecos:home:shell:extra` (Dovecot manual, "Passwd-file"). */
import type { MailUser } from '../../mail/mail-user.ts';
import { readUser, type SystemIds } from '../user-fields.ts';
import { readVariables } from '../variables.ts';

/** A line with a fault keeps its user name where it has one: that user exists, so mail for it is put off, never bounced. */
export type PasswdEntry =
  /** `name`: as it stands in the file, where `userdb_user` may give another one. */
  | { readonly kind: 'user'; readonly name: string; readonly user: MailUser }
  | { readonly kind: 'malformed'; readonly name: string | undefined; readonly problem: string }
  | { readonly kind: 'blank' };

/**
 * Reads one line without its line end. Of the password nothing is looked at. Extra fields are parted by spaces; those with
 * `userdb_` are the user's, of the others those of proxying count. Their values may have `%` variables; `uid`, `gid` and `home`
 * among them win over the fields of the same names. An empty eighth field with a ninth is the older form: the ninth is `mail`.
 */
export function parsePasswdLine(line: string, ids: SystemIds): PasswdEntry {
  const first = line.charCodeAt(0);
  if (line === '' || first === 0x23 || first === 0x3a) return { kind: 'blank' };
  const fields = line.split(':');
  const name = fields[0] ?? '';
  if (/[\s\x00-\x1f\x7f]/.test(name)) return malformed(undefined, 'white space in the user name');
  if (fields.length === 1)
    return malformed(name, 'only a user name, expected user:password:uid:gid:gecos:home:shell:extra');
  const userdb = new Map<string, string>();
  for (const [field, at] of [
    ['uid', 2],
    ['gid', 3],
    ['home', 5],
  ] as const) {
    const value = fields[at] ?? '';
    if (value !== '') userdb.set(field, value);
  }
  const passdb = new Map<string, string>();
  const old = fields[7] === '' && fields.length > 8;
  const extra = old ? `userdb_mail=${fields.slice(8).join(':')}` : fields.slice(7).join(':');
  const problem = readExtra(extra, name, userdb, passdb);
  if (problem !== undefined) return malformed(name, problem);
  const read = readUser(name, userdb, passdb, ids);
  return read.kind === 'user' ? { ...read, name } : malformed(name, read.problem);
}

function malformed(name: string | undefined, problem: string): PasswdEntry {
  return { kind: 'malformed', name, problem };
}

/** A field without `=` has the value `yes`, as in Dovecot. Gives what is wrong. */
function readExtra(
  text: string,
  name: string,
  userdb: Map<string, string>,
  passdb: Map<string, string>,
): string | undefined {
  for (const item of text.split(' ')) {
    if (item === '') continue;
    const eq = item.indexOf('=');
    const key = eq < 0 ? item : item.slice(0, eq);
    const isUser = key.startsWith('userdb_');
    const field = isUser ? key.slice('userdb_'.length) : key;
    if (!isUser && !proxyFields.has(field)) continue;
    const value = eq < 0 ? 'yes' : valueOf(field, item.slice(eq + 1), name);
    if (typeof value !== 'string') return `${key}: ${value.problem}`;
    (isUser ? userdb : passdb).set(field, value);
  }
  return undefined;
}

/** Passdb fields that matter for mail. What else stands there (allow_nets, nologin) is about logging in. */
const proxyFields: ReadonlySet<string> = new Set(
  'proxy proxy_maybe host port destuser proxy_timeout protocol ssl starttls'.split(' '),
);

function valueOf(field: string, value: string, name: string): string | { readonly problem: string } {
  // `mail` has more variables than these, and is expanded with them.
  if (field === 'mail' || !value.includes('%')) return value;
  const variables = readVariables(value);
  return typeof variables === 'string' ? { problem: variables } : variables.expand(name);
}
