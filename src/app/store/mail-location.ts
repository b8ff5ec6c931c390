/** Where a user's mail lies, by the option `maildir` of a store. */
import type { Directory, DirectoryAnswer } from '../../directory/directory.ts';
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { isSafeSegment } from '../../mail/mail-location.ts';
import type { MailUser } from '../../mail/mail-user.ts';

/** Gives users a Maildir by the option `maildir`, where their own entry names none. */
export function withMaildir(directory: Directory, template: string, scope: ExpandScope): Directory {
  function locate(user: MailUser): DirectoryAnswer | Promise<DirectoryAnswer> {
    if (user.maildir !== undefined) return { kind: 'found', user };
    const at = user.username.lastIndexOf('@');
    const local = at < 0 ? user.username : user.username.slice(0, at);
    const domain = at < 0 ? '' : user.username.slice(at + 1);
    if (!isSafeSegment(local) || (domain !== '' && !isSafeSegment(domain)))
      return { kind: 'unavailable', reason: `user name "${user.username}" cannot be part of a path` };
    const address = { local, domain, localPartData: local, ...(domain === '' ? {} : { domainData: domain }) };
    const extra = new Map([['home', { text: user.home ?? '', tainted: false }]]);
    const result = expandText(template, { ...scope, address, extra });
    return result instanceof Promise ? result.then((r) => answer(user, r)) : answer(user, result);
  }
  function answer(user: MailUser, result: Awaited<ReturnType<typeof expandText>>): DirectoryAnswer {
    if (result.kind !== 'ok')
      return {
        kind: 'unavailable',
        reason: `maildir: ${result.kind === 'forced-fail' ? 'forced failure' : result.reason}`,
      };
    if (result.tainted)
      return {
        kind: 'unavailable',
        reason: `maildir: "${template}" uses what came from the wire: use $local_part_data and $domain_data`,
      };
    if (!result.text.startsWith('/') || /(?:^|\/)\.\.?(?:\/|$)/.test(result.text))
      return {
        kind: 'unavailable',
        reason: `maildir: "${result.text}" is not an absolute path without "." and ".."`,
      };
    return { kind: 'found', user: { ...user, maildir: result.text } };
  }
  const found = (a: DirectoryAnswer): DirectoryAnswer | Promise<DirectoryAnswer> =>
    a.kind === 'found' ? locate(a.user) : a;
  return {
    find(address) {
      const a = directory.find(address);
      return a instanceof Promise ? a.then(found) : found(a);
    },
    list: (max) => directory.list(max),
    close: () => directory.close(),
  };
}
