/** `${acl{name}{arg}...}` and the `acl` condition (Exim manual, "Expansion items"). */
import type { Ast } from './ast.ts';
import { aside, evaluateAll, type Compiler, type Evaluator } from './evaluator.ts';
import type { Frame } from './frame.ts';
import { error, finish, type Result } from './outcome.ts';

/** What Exim calls the ends of an ACL that an expansion has no use for. */
const endings = { discard: 'DISCARD', drop: 'FAIL_DROP', error: 'ERROR' } as const;

const nothing: Evaluator = () => '';

/**
 * Compiles a call of the ACL that the first group names, with the rest as arguments. Gives the ACL's message; only its
 * taint flows into the result, since the arguments go to the ACL.
 *
 * @returns makes the call; `heard` is told whether the ACL accepted, before the message comes back
 */
export function compileAclCall(
  groups: readonly Ast[],
  compiler: Compiler,
): (frame: Frame, heard?: (accepted: boolean) => void) => Result<string> {
  const [name = nothing, ...args] = groups.map((g) => compiler.text(g));
  return (frame, heard) => {
    const before = frame.tainted;
    const message = aside(name, frame, (nameText, nameTainted) => {
      return evaluateAll(args, frame, (texts) => {
        frame.tainted = false;
        return call({ text: nameText, tainted: nameTainted }, texts, frame, heard);
      });
    });
    return finish(message, () => {
      frame.tainted ||= before;
    });
  };
}

function call(
  name: { readonly text: string; readonly tainted: boolean },
  args: readonly string[],
  frame: Frame,
  heard: ((accepted: boolean) => void) | undefined,
): Result<string> {
  const { services } = frame.scope;
  if (services.callAcl === undefined) return error(`no ACL can run here: acl "${name.text}" called`);
  const answer = services.callAcl(name.text, args, frame.scope, name.tainted);
  const take = (a: Awaited<typeof answer>): Result<string> => {
    if (a.verdict === 'defer') return { kind: 'forced-fail', reason: `DEFER from acl "${name.text}"` };
    if (a.verdict !== 'accept' && a.verdict !== 'deny')
      return error(`${endings[a.verdict]} from acl "${name.text}"`);
    heard?.(a.verdict === 'accept');
    // The message may quote the client unless the ACL engine says otherwise.
    if (a.message !== '' && a.tainted !== false) frame.tainted = true;
    return a.message;
  };
  return answer instanceof Promise ? answer.then(take) : take(answer);
}
