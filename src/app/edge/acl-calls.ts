/** `${acl` in routers, transports and main options, where no ACL runs yet (Exim manual, "Expansion items"). */
import { type AclEnvironment, type AclMemory, newAclMemory } from '../../acl/environment.ts';
import { callAclAlone } from '../../acl/run.ts';
import type { ConnectionFacts, ExpandScope, ExpandServices, MessageFacts } from '../../expand/scope.ts';
import { replyFromText } from '../../mail/reply.ts';
import type { LogItems } from '../../observe/log-items.ts';
import { logText } from '../../observe/log-text.ts';
import { type Logs, logTargets } from '../../observe/logs.ts';
import { clientField } from '../../observe/reception-lines.ts';
import type { VerifyResult } from '../../verify/verifier.ts';

/** Verification belongs to phases of SMTP, and the conditions refuse it here before they ask. */
const nothingIsVerified: VerifyResult = {
  kind: 'defer',
  stage: 'route',
  reply: replyFromText(451, undefined, 'nothing is verified here'),
  logReason: 'nothing is verified here',
};
const verify = (): Promise<VerifyResult> => Promise.resolve(nothingIsVerified);

/** The same services with ACLs that can be called. Within an ACL that runs, calls share its state instead. */
export function withAclCalls(
  services: ExpandServices,
  env: Pick<AclEnvironment, 'acls' | 'lists' | 'signal'>,
  logs: Pick<Logs, 'main' | 'reject' | 'panic'>,
  logItems: LogItems,
): ExpandServices {
  /** What `warn` has logged of a message; it goes with the message. */
  const memories = new WeakMap<MessageFacts, AclMemory>();
  const memoryOf = (message: MessageFacts | undefined): AclMemory => {
    if (message === undefined) return newAclMemory();
    const memory = memories.get(message) ?? newAclMemory();
    memories.set(message, memory);
    return memory;
  };
  return {
    ...services,
    callAcl: (name, args, scope, nameTainted) =>
      callAclAlone(name, args, nameTainted, {
        ...env,
        scope,
        phase: 'delivery',
        verifier: { verifyRecipient: verify, verifySender: verify },
        memory: memoryOf(scope.message),
        log({ text, withHost, item, logs: targets }) {
          const host =
            withHost && scope.connection !== undefined ? [hostField(scope.connection, logItems)] : [];
          const line = [...idOf(scope), ...host, logText(text)].join(' ');
          // A selection is about the main log.
          const unselected = item !== undefined && !logItems.has(item);
          for (const target of logTargets(targets)) if (target !== 'main' || !unselected) logs[target](line);
        },
      }),
  };
}

function idOf({ message }: ExpandScope): string[] {
  return message?.id === undefined ? [] : [message.id];
}

function hostField(connection: ConnectionFacts, logItems: LogItems): string {
  return clientField({ ...connection, hostName: connection.hostName, helo: connection.helo }, logItems);
}
