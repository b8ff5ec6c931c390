/** Callouts that ACLs ask for and that can never be made, as far as the file itself shows it. */
import type { Acl } from '../acl/ast.ts';
import type { VerifyTest } from '../acl/verify-test.ts';
import type { ConfigModel } from '../config/model.ts';
import type { Diagnostic, SourcePosition } from '../mail/diagnostic.ts';

/** Drivers that deliver without asking anybody. */
const silent: ReadonlySet<string> = new Set(['appendfile', 'autoreply', 'pipe']);

/** A warning at the `transport` of each router whose addresses an ACL wants called out, and whose transport has nobody to ask. */
export function uncallable(
  { routers, transports }: Pick<ConfigModel, 'routers' | 'transports'>,
  acls: Iterable<Acl>,
): Diagnostic[] {
  const drivers = new Map(transports.map((t) => [t.name, t.driver]));
  const callouts = [...calloutsOf(acls)];
  return routers.flatMap(({ name, options, given, position }): Diagnostic[] => {
    const { transport } = options;
    const driver = transport === undefined ? undefined : drivers.get(transport);
    if (driver === undefined || !silent.has(driver)) return [];
    // Of senders, those who live here are known by being routed here.
    const met = callouts.find(({ test }) => test.what === 'recipient' && options.verify_recipient);
    if (met === undefined) return [];
    return [
      {
        severity: 'warning',
        position: given.get('transport')?.sources[0]?.position ?? position,
        message: `${driver} transport ${transport} has nobody to ask: verify = recipient/callout in line ${met.position.line} takes every address that the router ${name} takes`,
      },
    ];
  });
}

function* calloutsOf(acls: Iterable<Acl>): Generator<{ test: VerifyTest; position: SourcePosition }> {
  for (const { statements } of acls)
    for (const { steps } of statements)
      for (const step of steps)
        if (step.kind === 'verify' && step.test.kind === 'known' && step.test.value.callout !== undefined)
          yield { test: step.test.value, position: step.position };
}
