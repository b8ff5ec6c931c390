/** `${acl{name}{arg}...}` and the `acl` condition (Exim manual, "Expansion items"). */
import type { Frame } from './frame.ts';
import { error, type Result } from './outcome.ts';

/** What Exim calls the ends of an ACL that an expansion has no use for. */
const endings = { discard: 'DISCARD', drop: 'FAIL_DROP', error: 'ERROR' } as const;

/**
 * Calls the ACL `texts[0]` with the rest as arguments; gives its message. The arguments are tainted or not as a whole.
 *
 * @param heard is told whether the ACL accepted, before the message comes back
 */
export function callAcl(
  texts: readonly string[],
  frame: Frame,
  heard: (accepted: boolean) => void,
): Result<string> {
  const [name = '', ...args] = texts;
  const { services } = frame.scope;
  // The arguments go to the ACL; only its message flows into the result.
  frame.tainted = false;
  if (services.callAcl === undefined) return error(`no ACL can run here: acl "${name}" called`);
  const answer = services.callAcl(name, args, frame.scope);
  const take = (a: Awaited<typeof answer>): Result<string> => {
    if (a.verdict === 'defer') return { kind: 'forced-fail', reason: `DEFER from acl "${name}"` };
    if (a.verdict !== 'accept' && a.verdict !== 'deny')
      return error(`${endings[a.verdict]} from acl "${name}"`);
    heard(a.verdict === 'accept');
    // The message may quote the client unless the ACL engine says otherwise.
    if (a.message !== '' && a.tainted !== false) frame.tainted = true;
    return a.message;
  };
  return answer instanceof Promise ? answer.then(take) : take(answer);
}
