/** User, group and home of a local delivery, as a router settles them (Exim manual, "The environment for running local transports"). */
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import type { DeliveryUser, LocalDelivery } from '../mail/local-delivery.ts';
import type { RouterOptions } from './options.ts';
import type { Findings } from './preconditions.ts';
import type { LocalUser, LocalUsers } from './router.ts';

/** Undefined where the router settles nothing. */
export async function localDelivery(
  o: RouterOptions,
  scope: ExpandScope,
  users: LocalUsers,
  found: Findings,
): Promise<LocalDelivery | { readonly problem: string } | undefined> {
  const user = await userOf(o, scope, users, found.localUser);
  if (user !== undefined && 'problem' in user) return user;
  const home = await expanded('transport_home_directory', o.transportHomeDirectory, o, scope);
  if (home !== undefined && typeof home !== 'string') return home;
  const current = await expanded('transport_current_directory', o.transportCurrentDirectory, o, scope);
  if (current !== undefined && typeof current !== 'string') return current;
  const at = home ?? found.localUser?.home ?? found.home;
  if (user === undefined && at === undefined && current === undefined) return undefined;
  return {
    ...(user === undefined ? undefined : { user }),
    ...(at === undefined ? undefined : { home: at }),
    ...(current === undefined ? undefined : { currentDirectory: current }),
  };
}

/** `user` and `group`; what they leave open comes from `check_local_user`. */
async function userOf(
  o: RouterOptions,
  scope: ExpandScope,
  users: LocalUsers,
  local: LocalUser | undefined,
): Promise<DeliveryUser | { readonly problem: string } | undefined> {
  const userText = await expanded('user', o.user, o, scope);
  if (typeof userText === 'object') return userText;
  const groupText = await expanded('group', o.group, o, scope);
  if (typeof groupText === 'object') return groupText;
  let account = local;
  let uid = local?.uid;
  if (userText !== undefined) {
    account = /^\d+$/.test(userText) ? users.byUid(Number(userText)) : users.byName(userText);
    uid = account?.uid ?? (/^\d+$/.test(userText) ? Number(userText) : undefined);
    if (uid === undefined) return { problem: `user "${userText}" not found for ${o.name} router` };
  }
  let gid = account?.gid;
  if (groupText !== undefined) {
    gid = users.groupNumber(groupText);
    if (gid === undefined) return { problem: `group "${groupText}" not found for ${o.name} router` };
  }
  if (uid === undefined) return undefined;
  if (gid === undefined) return { problem: `user set without group for ${o.name} router` };
  return {
    uid,
    gid,
    ...(account === undefined ? undefined : { name: account.name }),
    initgroups: o.initgroups === true,
  };
}

async function expanded(
  option: string,
  text: string | undefined,
  o: RouterOptions,
  scope: ExpandScope,
): Promise<string | { readonly problem: string } | undefined> {
  if (text === undefined) return undefined;
  const result = await expandText(text, scope);
  if (result.kind === 'forced-fail')
    return { problem: `expansion of ${option} was forced to fail in ${o.name} router` };
  if (result.kind !== 'ok')
    return { problem: `failed to expand ${option} "${text}" in ${o.name} router: ${result.reason}` };
  if (result.tainted)
    return {
      problem: `tainted ${option} "${result.text}" in ${o.name} router: use $local_part_data or $domain_data`,
    };
  return result.text;
}
