/** Who a local delivery runs as (Exim manual, "The environment for running local transports"; docs/decisions/0012). */
import type { ExpandScope } from '../../expand/scope.ts';
import type { DeliveryUser } from '../../mail/local-delivery.ts';
import { systemUsers } from '../../router/drivers/local-machine.ts';
import type { LocalUsers } from '../../router/router.ts';
import { canBecome, type Identity } from '../../transport/drivers/local/identity.ts';
import { expandUntainted, putOff } from './expand-options.ts';

export interface UserOptions {
  readonly user?: string | undefined;
  readonly group?: string | undefined;
  readonly initgroups: boolean;
}

/** The transport's options go before what the router settled; without either it is the user of the daemon, but never root. */
export async function identityFor(
  transport: string,
  options: UserOptions,
  settled: DeliveryUser | undefined,
  scope: ExpandScope,
  neverUsers: readonly string[] = [],
  users: LocalUsers = systemUsers,
): Promise<Identity> {
  let uid = settled?.uid;
  let gid = settled?.gid;
  let name = settled?.name;
  let initgroups = settled?.initgroups === true;
  if (options.user !== undefined) {
    const text = await expandUntainted(options.user, `user for ${transport} transport`, scope);
    const numeric = /^\d+$/.test(text);
    const account = numeric ? users.byUid(Number(text)) : users.byName(text);
    if (account === undefined && !numeric)
      throw putOff(`user "${text}" not found for ${transport} transport`);
    uid = account?.uid ?? Number(text);
    gid = account?.gid;
    name = account?.name;
    initgroups = options.initgroups;
  }
  if (options.group !== undefined) {
    const text = await expandUntainted(options.group, `group for ${transport} transport`, scope);
    gid = users.groupNumber(text);
    if (gid === undefined) throw putOff(`group "${text}" not found for ${transport} transport`);
  }
  if (uid === undefined) {
    uid = process.geteuid?.() ?? 0;
    if (uid === 0)
      throw putOff(
        `no user is given for ${transport} transport, and local deliveries do not run as root: set user there or in the router`,
      );
    gid ??= process.getegid?.();
  }
  if (gid === undefined) throw putOff(`User set without group for ${transport} transport`);
  if (uid === 0) throw putOff(`User 0 set for ${transport} transport is on the fixed_never_users list`);
  if (neverUsers.some((never) => (/^\d+$/.test(never) ? Number(never) : users.byName(never)?.uid) === uid))
    throw putOff(`User ${uid} set for ${transport} transport is on the never_users list`);
  const identity: Identity = { uid, gid, ...(initgroups && name !== undefined ? { initgroups: name } : {}) };
  if (!canBecome(identity))
    throw putOff(
      `unable to set gid=${gid} or uid=${uid} (euid=${process.geteuid?.()}): Mailchute does not run as root, so ${transport} transport can deliver as this user only`,
    );
  return identity;
}
