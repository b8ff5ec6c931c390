/** What a user's entry leaves open, by options of a directory or a store: where mail lies, and whose it is. */
import type { Directory, DirectoryAnswer } from '../../directory/directory.ts';
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import { isSafeSegment } from '../../mail/mail-location.ts';
import type { MailUser } from '../../mail/mail-user.ts';

type Scope = Pick<ExpandScope, 'main' | 'services'>;

type UserPath =
  | { readonly kind: 'path'; readonly path: string }
  /** The name cannot be part of a path. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/**
 * Expands an option to a path of this user. `$local_part_data` and `$domain_data` are the two parts of the name, `$home` is the
 * home directory. Each part of the name is one segment of the path or nothing, so that no name leads out of the
 * folder that the administrator wrote.
 */
export function expandForUser(
  option: string,
  template: string,
  user: MailUser,
  { main, services }: Scope,
): Awaitable<UserPath> {
  const at = user.username.lastIndexOf('@');
  const local = at < 0 ? user.username : user.username.slice(0, at);
  const domain = at < 0 ? '' : user.username.slice(at + 1);
  if (!isSafeSegment(local) || (domain !== '' && !isSafeSegment(domain))) return { kind: 'unknown' };
  const address = { local, domain, localPartData: local, ...(domain === '' ? {} : { domainData: domain }) };
  // An empty one would make `$home/mail` one place for all who have none.
  if (user.home === undefined && /\$\{?home\b/.test(template) && !template.includes('def:home'))
    return { kind: 'unavailable', reason: `${option}: "${template}" uses $home, and the user has none` };
  const extra = new Map([['home', { text: user.home ?? '', tainted: false }]]);
  const result = expandText(template, { main, services, address, extra });
  return result instanceof Promise
    ? result.then((r) => pathOf(option, template, r))
    : pathOf(option, template, result);
}

function pathOf(option: string, template: string, result: Awaited<ReturnType<typeof expandText>>): UserPath {
  const unavailable = (reason: string): UserPath => ({ kind: 'unavailable', reason: `${option}: ${reason}` });
  if (result.kind !== 'ok')
    return unavailable(result.kind === 'forced-fail' ? 'forced failure' : result.reason);
  if (result.tainted)
    return unavailable(`"${template}" uses what came from the wire: use $local_part_data and $domain_data`);
  if (!result.text.startsWith('/') || /[\x00-\x1f\x7f]|(?:^|\/)\.\.?(?:\/|$)/.test(result.text))
    return unavailable(`"${result.text}" is not an absolute path without "." and ".."`);
  return { kind: 'path', path: result.text };
}

/** What a directory's own options say of users whose entry does not. */
export interface UserDefaults {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly home: string | undefined;
  readonly maildir: string | undefined;
}

/** A home is filled in first, since a Maildir may be named by it. */
export function withDefaults(directory: Directory, defaults: UserDefaults, scope: Scope): Directory {
  const { uid, gid, home, maildir } = defaults;
  let filled = directory;
  if (uid !== undefined || gid !== undefined)
    filled = mapFound(filled, true, (user) => ({
      kind: 'found',
      user: {
        ...user,
        ...(uid === undefined || user.uid !== undefined ? {} : { uid }),
        ...(gid === undefined || user.gid !== undefined ? {} : { gid }),
      },
    }));
  if (home !== undefined) filled = withPath(filled, 'home', home, scope);
  if (maildir !== undefined) filled = withPath(filled, 'maildir', maildir, scope);
  return filled;
}

/**
 * Users of a store: each has a Maildir, by its own entry or by the option, or is unavailable.
 *
 * @param template undefined where nothing is said, or where the store writes no Maildirs
 */
export function withMaildir(directory: Directory, template: string | undefined, scope: Scope): Directory {
  return template === undefined ? directory : withPath(directory, 'maildir', template, scope);
}

function withPath(
  directory: Directory,
  field: 'home' | 'maildir',
  template: string,
  scope: Scope,
): Directory {
  const fill = (user: MailUser, at: UserPath): DirectoryAnswer => {
    if (at.kind === 'path') return { kind: 'found', user: { ...user, [field]: at.path } };
    return at.kind === 'unavailable'
      ? at
      : { kind: 'unavailable', reason: `user name "${user.username}" cannot be part of a path` };
  };
  return mapFound(directory, isFixed(template), (user) => {
    // A user whose mail lies in another format has no Maildir; one whose mail lies elsewhere needs none.
    const settled = field === 'maildir' && (user.extra['mail'] !== undefined || user.proxy !== undefined);
    if (user[field] !== undefined || settled) return { kind: 'found', user };
    const at = expandForUser(field, template, user, scope);
    return at instanceof Promise ? at.then((a) => fill(user, a)) : fill(user, at);
  });
}

/** True where a template gives the same for a user each time: it has these variables and nothing else. */
function isFixed(template: string): boolean {
  return !/[$\\]/.test(
    template.replace(
      /\$(?:local_part_data|domain_data|home)\b|\$\{(?:local_part_data|domain_data|home)\}/g,
      '',
    ),
  );
}

/**
 * A directory whose users go through `change`; at once where nothing has to be waited for.
 *
 * @param keep what became of a user is the same each time, and is kept as long as the directory keeps that user
 */
function mapFound(
  directory: Directory,
  keep: boolean,
  change: (user: MailUser) => Awaitable<DirectoryAnswer>,
): Directory {
  const kept = new WeakMap<MailUser, DirectoryAnswer>();
  const changed = (a: DirectoryAnswer): Awaitable<DirectoryAnswer> => {
    if (a.kind !== 'found') return a;
    const old = kept.get(a.user);
    if (old !== undefined) return old;
    const answer = change(a.user);
    if (keep && !(answer instanceof Promise)) kept.set(a.user, answer);
    return answer;
  };
  return {
    find(address) {
      const a = directory.find(address);
      return a instanceof Promise ? a.then(changed) : changed(a);
    },
    list: (max) => directory.list(max),
    close: () => directory.close(),
  };
}
