/** A user from the fields that a directory has of it: those of Dovecot's userdb and passdb (manual, "UserDatabase", "ExtraFields"). */
import { expandMailLocation } from '../mail/mail-location.ts';
import type { MailUser } from '../mail/mail-user.ts';
import { readProxyFields } from './proxy-fields.ts';

/** By name, without `userdb_`. */
export type UserFields = ReadonlyMap<string, string>;

/** Names of the machine's users and groups, for sources that give a name where a number may stand. */
export interface SystemIds {
  uid(name: string): number | undefined;
  gid(name: string): number | undefined;
}

export type ReadUser =
  | { readonly kind: 'user'; readonly user: MailUser }
  | { readonly kind: 'malformed'; readonly problem: string };

/** Fields that have a place of their own in {@link MailUser}. */
const own: ReadonlySet<string> = new Set([
  'user',
  'username',
  'domain',
  'uid',
  'gid',
  'home',
  'mail',
  'maildir',
]);

/**
 * `home`, `uid`, `gid`; `mail` as in Dovecot (`maildir:/path/%u`), or `maildir` for a plain path; `user`, or `username` and
 * `domain`, for another name than the one asked for. Everything else is kept by name. Root is nobody's number.
 *
 * @param passdb where the proxy fields stand; the same map where a source does not part the two
 */
export function readUser(asked: string, fields: UserFields, passdb: UserFields, ids: SystemIds): ReadUser {
  const username = nameOf(asked, fields);
  if (username === undefined) return malformed('the name of the user is empty or has control characters');
  const uid = readId(fields.get('uid'), 'uid', 'user', (name) => ids.uid(name));
  if (typeof uid === 'string') return malformed(uid);
  const gid = readId(fields.get('gid'), 'gid', 'group', (name) => ids.gid(name));
  if (typeof gid === 'string') return malformed(gid);
  const home = fields.get('home') ?? '';
  if (home !== '' && (home.charCodeAt(0) !== slash || /[\x00-\x1f\x7f]|(?:^|\/)\.\.(?:\/|$)/.test(home)))
    return malformed('home is not an absolute path');
  const facts = home === '' ? { username } : { username, home };
  const mail = readMail(fields, facts);
  if ('problem' in mail) return malformed(mail.problem);
  const proxy = readProxyFields(passdb);
  if (typeof proxy === 'string') return malformed(proxy);
  const extra: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of fields) if (!own.has(name)) extra[name] = value;
  if ('other' in mail) extra['mail'] = mail.other;
  return {
    kind: 'user',
    user: {
      ...facts,
      ...('other' in mail ? {} : mail),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(proxy === undefined ? {} : { proxy }),
      extra,
    },
  };
}

const slash = 0x2f;

function malformed(problem: string): ReadUser {
  return { kind: 'malformed', problem };
}

function nameOf(asked: string, fields: UserFields): string | undefined {
  const local = fields.get('username');
  const domain = fields.get('domain');
  const name =
    fields.get('user') ?? (local === undefined ? asked : domain === undefined ? local : `${local}@${domain}`);
  return name === '' || /[\x00-\x1f\x7f]/.test(name) ? undefined : name;
}

type Place = Pick<MailUser, 'maildir' | 'maildirLayout' | 'inbox'>;

/** Formats that are no Maildir are kept as the field `mail`: the driver of the store knows whether it can write them. */
function readMail(
  fields: UserFields,
  facts: { readonly username: string; readonly home?: string },
): Place | { readonly other: string } | { readonly problem: string } {
  const plain = fields.get('maildir') ?? '';
  const text = fields.get('mail') ?? (plain === '' ? '' : `maildir:${plain}`);
  if (text === '') return {};
  const format = /^([a-z]+):/.exec(text)?.[1];
  if (format !== undefined && format !== 'maildir') return { other: text };
  const location = expandMailLocation(text, facts);
  if (location.kind === 'refused') return { problem: location.reason };
  return {
    maildir: location.path,
    ...(location.layout === undefined ? {} : { maildirLayout: location.layout }),
    ...(location.inbox === undefined ? {} : { inbox: location.inbox }),
  };
}

function readId(
  text: string | undefined,
  field: string,
  kind: string,
  named: (name: string) => number | undefined,
): number | undefined | string {
  if (text === undefined || text === '') return undefined;
  const id = /^\d{1,10}$/.test(text) ? Number(text) : named(text);
  if (id === undefined) return `${field} is neither a number nor a ${kind} of this machine`;
  return id > 0 && id < 0xffffffff ? id : `${field} ${id} is not allowed`;
}
