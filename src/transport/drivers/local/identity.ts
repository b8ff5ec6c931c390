/** Who a local delivery runs as (Exim manual, "The environment for running local transports"). */

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Take on the supplementary groups of this account; else none. */
  readonly initgroups?: string;
}

/** Is it who this process is already, so that nothing need change? */
export function isOwnIdentity(identity: Identity): boolean {
  return identity.uid === process.geteuid?.() && identity.gid === process.getegid?.();
}

/** May this process become it? */
export function canBecome(identity: Identity): boolean {
  return isOwnIdentity(identity) || process.geteuid?.() === 0;
}

/**
 * Becomes it for good: real, effective and saved ids, supplementary groups too. Throws where the system does not agree, and
 * where it can be undone.
 */
export function become({ uid, gid, initgroups }: Identity): void {
  if (uid === 0) throw new Error('no delivery runs as root');
  if (initgroups === undefined) process.setgroups?.([]);
  else (process as WithInitgroups).initgroups(initgroups, gid);
  process.setgid?.(gid);
  process.setuid?.(uid);
  const is = [process.getuid?.(), process.geteuid?.(), process.getgid?.(), process.getegid?.()];
  if (is[0] !== uid || is[1] !== uid || is[2] !== gid || is[3] !== gid)
    throw new Error('the user could not be changed');
  let regained = true;
  try {
    process.setuid?.(0);
  } catch {
    regained = false;
  }
  if (regained) throw new Error('the rights of root are still there');
}

/** A call that the types leave out. */
type WithInitgroups = NodeJS.Process & { initgroups(user: string, gid: number): void };
