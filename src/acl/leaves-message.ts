/** Whether an ACL can change what is delivered, or only say yes or no. */
import { assertNever } from '../mail/assert-never.ts';
import type { Acl } from './ast.ts';

/**
 * True where nothing in the ACL can edit header lines, set a variable, ask for something or run another ACL: what is
 * handed on before it has run is then what would be handed on afterwards. False also for a name that is no ACL's.
 */
export function leavesMessage(acls: ReadonlyMap<string, Acl>, name: string): boolean {
  const acl = acls.get(name);
  if (acl === undefined) return false;
  return acl.statements.every(
    ({ verb, steps }) =>
      verb !== 'discard' &&
      steps.every((step) => {
        switch (step.kind) {
          case 'add_header':
          case 'remove_header':
          case 'set':
          case 'control':
          case 'acl':
            return false;
          case 'condition':
          case 'logwrite':
          case 'continue':
          case 'message':
          case 'log_message':
            return !mayRunAcl(step.template.source);
          case 'list':
            return !mayRunAcl(step.text);
          case 'authenticated':
          case 'delay':
          case 'encrypted':
          case 'endpass':
          case 'log_reject_target':
          case 'verify':
            return true;
          default:
            return assertNever(step);
        }
      }),
  );
}

/** `${acl`, or anything that has its name in it. */
function mayRunAcl(text: string): boolean {
  return text.includes('acl');
}
