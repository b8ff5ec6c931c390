/** `@mx_any`, `@mx_primary` and `@mx_secondary` in domain lists (Exim manual, "Domain lists"). */
import type { Awaitable } from '../expand/scope.ts';
import {
  defer,
  no,
  yes,
  type CompiledItem,
  type CompiledList,
  type ItemAnswer,
  type MailHosts,
  type MatchContext,
} from './model.ts';

type Which = 'any' | 'primary' | 'secondary';

const form = /^@mx_(any|primary|secondary)(?:\/ignore\s*=\s*([\s\S]*))?$/i;

/**
 * Reads such an item; undefined where the pattern is none.
 *
 * @param hosts compiles the list of addresses to ignore
 */
export function mxItem(pattern: string, hosts: (text: string) => CompiledList): CompiledItem | undefined {
  const m = form.exec(pattern);
  if (m === null) return undefined;
  const which = (m[1] ?? '').toLowerCase() as Which;
  const ignore = m[2] === undefined ? undefined : hosts(m[2]);
  const answer = yes(pattern, false);
  return {
    ...(ignore?.problems[0] === undefined ? {} : { problem: ignore.problems[0] }),
    test: ({ text }, context) => {
      const { environment } = context;
      if (environment.mailHostsOf === undefined)
        return defer(`no way to find the MX records of ${text}: "${pattern}" needs the DNS`);
      const decide = (found: MailHosts): Awaitable<ItemAnswer> => {
        if (found.kind === 'defer') return defer(`DNS lookup of "${text}" deferred: ${found.reason}`);
        if (found.kind === 'missing') return no;
        return match(which, found.hosts, ignore, context).then((hit) => (hit ? answer : no));
      };
      const found = environment.mailHostsOf(text);
      return found instanceof Promise ? found.then(decide) : decide(found);
    },
  };
}

/** Primary: this machine has the lowest preference of all hosts with an address. */
async function match(
  which: Which,
  hosts: Extract<MailHosts, { kind: 'found' }>['hosts'],
  ignore: CompiledList | undefined,
  context: MatchContext,
): Promise<boolean> {
  const own = new Set(context.environment.localAddresses());
  let first = Number.POSITIVE_INFINITY;
  let ours = Number.POSITIVE_INFINITY;
  for (const { preference, addresses } of hosts)
    for (const address of addresses) {
      if (ignore !== undefined && (await isIgnored(address, ignore, context))) continue;
      first = Math.min(first, preference);
      if (own.has(address)) ours = Math.min(ours, preference);
    }
  if (ours === Number.POSITIVE_INFINITY) return false;
  return which === 'any' || (which === 'primary') === (ours === first);
}

async function isIgnored(address: string, ignore: CompiledList, context: MatchContext): Promise<boolean> {
  const subject = { text: address, original: address, caseful: false, hostName: null };
  return (await context.run(ignore, subject, context)).kind === 'yes';
}
