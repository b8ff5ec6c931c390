/** Accounts and groups of this machine, from its files alone (Node has no call for NSS). */
import { readFileSync, statSync } from 'node:fs';
import type { FileState, LocalMachine, LocalUser, LocalUsers } from '../router.ts';

interface Accounts {
  readonly byName: ReadonlyMap<string, LocalUser>;
  readonly byUid: ReadonlyMap<number, LocalUser>;
}

/** Files are read again when they change. */
export function createLocalUsers(passwdFile = '/etc/passwd', groupFile = '/etc/group'): LocalUsers {
  const accounts = kept(passwdFile, readAccounts);
  const groups = kept(groupFile, readGroups);
  return {
    byName: (name) => accounts().byName.get(name),
    byUid: (uid) => accounts().byUid.get(uid),
    groupNumber: (name) => (/^\d+$/.test(name) ? Number(name) : groups().get(name)),
  };
}

function kept<T>(file: string, read: (lines: readonly string[][]) => T): () => T {
  let stamp = '';
  let value: T | undefined;
  return () => {
    const { mtimeMs, size, ino } = statSync(file);
    const now = `${mtimeMs} ${size} ${ino}`;
    if (value === undefined || now !== stamp) {
      value = read(
        readFileSync(file, 'latin1')
          .split('\n')
          .map((line) => line.split(':')),
      );
      stamp = now;
    }
    return value;
  };
}

const number = /^\d+$/;

function readAccounts(lines: readonly string[][]): Accounts {
  const byName = new Map<string, LocalUser>();
  const byUid = new Map<number, LocalUser>();
  for (const [name = '', , uid = '', gid = '', , home = ''] of lines) {
    if (name === '' || !number.test(uid) || !number.test(gid)) continue;
    const user: LocalUser = { name, uid: Number(uid), gid: Number(gid), home };
    // The first entry counts, as for getpwnam.
    if (!byName.has(name)) byName.set(name, user);
    if (!byUid.has(user.uid)) byUid.set(user.uid, user);
  }
  return { byName, byUid };
}

function readGroups(lines: readonly string[][]): ReadonlyMap<string, number> {
  const byName = new Map<string, number>();
  for (const [name = '', , gid = ''] of lines)
    if (name !== '' && number.test(gid) && !byName.has(name)) byName.set(name, Number(gid));
  return byName;
}

/** The accounts of this machine. */
export const systemUsers: LocalUsers = createLocalUsers();

/** This machine, or one whose accounts stand elsewhere. */
export function createLocalMachine(users: LocalUsers = systemUsers): LocalMachine {
  return { users, fileState };
}

function fileState(path: string): FileState {
  try {
    const { uid, gid, mode } = statSync(path);
    return { kind: 'found', uid, gid, mode };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'missing' };
    return code === 'EACCES' ? { kind: 'denied' } : { kind: 'unknown', reason: code };
  }
}
