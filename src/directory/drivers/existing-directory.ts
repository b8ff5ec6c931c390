/** The directory driver `static`: a rule instead of a list. Who has a directory has a mailbox. */
import { statSync, type Stats } from 'node:fs';
import type { Awaitable } from '../../mail/awaitable.ts';
import { systemErrorText } from '../../net/system-error.ts';
import type { DirectoryAnswer } from '../directory.ts';
import type { UserSource } from '../user-source.ts';

/** Where a user's directory is; `unknown` where the name cannot be part of a path. */
export type PathOfUser = (
  username: string,
) => Awaitable<
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unavailable'; readonly reason: string }
>;

export interface ExistingDirectoryOptions {
  readonly pathOf: PathOfUser;
  /** What must exist for "there is no such directory" to count: where it does not, a file system is not mounted. */
  readonly root: string;
  /** uid and gid are those of the directory. */
  readonly owner: boolean;
  /** The directory is the user's home. */
  readonly home: boolean;
}

/**
 * A user exists where the directory exists. `ENOENT` is unknown as long as `root` exists; anything else that
 * goes wrong, a file in its place and root as owner included, is unavailable. Symbolic links are followed: what the administrator made counts.
 */
export function existingDirectoryUsers({ pathOf, root, owner, home }: ExistingDirectoryOptions): UserSource {
  const judge = (username: string, at: Awaited<ReturnType<PathOfUser>>): DirectoryAnswer => {
    if (at.kind !== 'path') return at;
    const { path } = at;
    if (path.charCodeAt(0) !== 0x2f || /[\x00-\x1f\x7f]|(?:^|\/)\.\.?(?:\/|$)/.test(path))
      return unavailable(`"${path}" is not an absolute path without "." and ".."`);
    const found = look(path);
    if ('failed' in found) {
      if (found.code !== 'ENOENT') return unavailable(`${path}: ${found.failed}`);
      const base = look(root);
      if (!('failed' in base) && base.isDirectory()) return { kind: 'unknown' };
      // Not mounted, it may be: nobody is refused for that.
      return unavailable(`${root}: ${'failed' in base ? base.failed : 'Not a directory'}`);
    }
    if (!found.isDirectory()) return unavailable(`${path}: Not a directory`);
    if (owner && (found.uid === 0 || found.gid === 0))
      return unavailable(`${path} belongs to root or its group`);
    const ids = owner ? { uid: found.uid, gid: found.gid } : {};
    return { kind: 'found', user: { username, ...(home ? { home: path } : {}), ...ids, extra: {} } };
  };
  return {
    find(username) {
      const at = pathOf(username);
      return at instanceof Promise ? at.then((a) => judge(username, a)) : judge(username, at);
    },
    list: () => undefined,
    close: () => Promise.resolve(),
  };
}

function unavailable(reason: string): DirectoryAnswer {
  return { kind: 'unavailable', reason: reason.replace(/[\x00-\x1f\x7f]/g, '?') };
}

/** Names are octets. */
function look(path: string): Stats | { readonly failed: string; readonly code: unknown } {
  try {
    return statSync(Buffer.from(path, 'latin1'));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return { failed: systemErrorText(error), code };
  }
}
