/** Built-in macros of what ACLs can do (Exim manual, "Builtin macros"). */
import { conditions, modifiers } from '../acl/tables.ts';

/** `_ACL_COND_...` and `_ACL_MOD_...`. */
export function aclMacros(): string[] {
  return [
    ...[...conditions.keys()].map((name) => `_ACL_COND_${name.toUpperCase()}`),
    ...[...modifiers.keys()].map((name) => `_ACL_MOD_${name.toUpperCase()}`),
  ];
}
