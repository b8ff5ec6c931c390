/** Whether a message is delivered while its sender waits, and what servers are told of it then (docs/direct-delivery.md). */
import type { AclControls } from '../../acl/control.ts';
import type { Envelope } from '../../mail/envelope.ts';
import { transferName } from '../../queue/transfer.ts';
import type { EdgeParts } from './parts.ts';
import type { Transaction } from './transaction.ts';

/**
 * How a message is delivered while its sender waits; undefined where it is not.
 *
 * @param forHost the client is in `direct_delivery_hosts`
 */
export function directTermsOf(
  options: Pick<EdgeParts['options'], 'direct_delivery_defer'>,
  forHost: boolean,
  controls: Pick<AclControls, 'direct' | 'queueOnly' | 'freeze'> | undefined,
): AclControls['direct'] {
  const { direct: asks, queueOnly, freeze } = controls ?? {};
  if (queueOnly === true || freeze !== undefined) return undefined;
  return asks ?? (forHost ? { defer: options.direct_delivery_defer } : undefined);
}

/** What servers are told of a message that is delivered at once, before its content has come; it has its id from then on. */
export function earlyEnvelope(
  { options, spool, instance }: Pick<EdgeParts, 'options' | 'spool' | 'instance'>,
  transaction: Pick<Transaction, 'command' | 'id'>,
): Omit<Envelope, 'recipients'> | undefined {
  if (options.queue_only) return undefined;
  const { sender, params } = transaction.command;
  const { prdr: _, ...envelope } = params;
  const id = (transaction.id ??= spool.newId());
  return { sender, ...envelope, transfer: transferName(instance, id) };
}
