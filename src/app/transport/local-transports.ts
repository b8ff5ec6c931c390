/** Transports that deliver on this machine, and generic options around any transport, as the queue runs them. */
import type { TransportInstance } from '../../config/model.ts';

import type { RecipientOutcome } from '../../mail/outcome.ts';
import { splitList } from '../../mail/list-text.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { logText } from '../../observe/log-text.ts';
import type { ConfiguredTransport, DeliveryAtHand } from '../../queue/context.ts';
import { parseRewriteRule, type RewriteRule } from '../../rewrite/rules.ts';
import type { JobOutcome } from '../../transport/drivers/local/outcome.ts';
import type { PipeResult } from '../../transport/drivers/pipe.ts';
import type { Transport } from '../../transport/transport.ts';
import { type AppendfileInstance, deliverToFile } from './appendfile.ts';
import { type AutoreplyInstance, deliverReply, type ReplySurroundings } from './autoreply.ts';
import { DeliveryStop } from './expand-options.ts';
import { filtered } from './filter.ts';
import { applyGeneric, changesAnything, changesEnvelope } from './generic.ts';
import { identityFor } from './local-user.ts';
import { deliverToPipe, type PipeInstance } from './pipe.ts';

export interface LocalSurroundings extends ReplySurroundings {
  readonly primaryHostname: string;
  readonly qualifyDomain: string;
  /** The main log. */
  readonly log: (text: string) => void;
}

export type LocalInstance = AppendfileInstance | PipeInstance | AutoreplyInstance;
type Deliver = NonNullable<ConfiguredTransport['deliver']>;

/** A transport without a peer: files, commands, replies. */
export function makeLocal(t: LocalInstance, around: LocalSurroundings): ConfiguredTransport {
  const deliver = generic(t, (delivery, signal) => once(t, delivery, around, signal));
  const maxRecipients = t.driver === 'autoreply' || dependsOnRecipient(t) ? 1 : t.options.batch_max;
  const transport: Transport = {
    name: t.name,
    maxRecipients,
    deliver: () => Promise.reject(new Error(`${t.name} transport cannot deliver without a routed address`)),
    calloutTarget: () => ({ kind: 'impossible', reason: `${t.driver} is non-smtp`, local: true }),
    close: () => Promise.resolve(),
  };
  return { local: true, transport, deliver };
}

/** Generic options around a transport with a peer; nothing where none is set. */
export function withGeneric(
  t: TransportInstance,
  made: ConfiguredTransport,
  neverUsers: readonly string[],
): ConfiguredTransport {
  if (!changesAnything(t.options, rewriteRules(t))) return made;
  return {
    ...made,
    transport: changesEnvelope(t.options) ? withoutHold(made.transport) : made.transport,
    deliver: generic(t, async (delivery, signal) => {
      const message = await throughFilter(t, delivery, neverUsers, signal);
      return made.transport.deliver({ ...delivery.batch, message }, signal);
    }),
  };
}

/** What is said at RCPT is not what the delivery will say. */
function withoutHold(transport: Transport): Transport {
  const { name, maxRecipients } = transport;
  return {
    name,
    maxRecipients,
    deliver: (batch, signal) => transport.deliver(batch, signal),
    calloutTarget: (hosts) => transport.calloutTarget(hosts),
    close: () => transport.close(),
  };
}

/** `transport_filter`, whose command runs as the user of the transport or router. */
async function throughFilter(
  t: TransportInstance,
  delivery: DeliveryAtHand,
  neverUsers: readonly string[],
  signal: AbortSignal,
): Promise<MessageSource> {
  const o = t.options;
  const { batch, scope } = delivery;
  if (o.transport_filter === undefined || o.transport_filter === '') return batch.message;
  const identity = await identityFor(t.name, o, batch.delivery?.user, scope, neverUsers);
  return filtered(
    {
      transport: t.name,
      command: o.transport_filter,
      timeoutMs: o.transport_filter_timeout,
      identity,
    },
    delivery,
    signal,
  );
}

function generic(t: TransportInstance, inner: Deliver): Deliver {
  const rules = rewriteRules(t);
  return async (delivery, signal) => {
    try {
      const shared = { ...delivery, scope: sharedScope(delivery) };
      const { batch, scope } = await applyGeneric(t.name, t.options, rules, shared, signal);
      return await inner({ ...delivery, batch, scope }, signal);
    } catch (stop) {
      if (!(stop instanceof DeliveryStop)) throw stop;
      return delivery.batch.recipients.map(() => stop.outcome);
    }
  };
}

/** What is the same for all recipients: with several of them there is no local part, and a domain only where it is one (Exim manual, `$domain`). */
function sharedScope({ scope, members }: DeliveryAtHand): DeliveryAtHand['scope'] {
  if (members.length === 1) return scope;
  const { local: _, localPartData: __, prefix: ___, suffix: ____, ...facts } = scope.address;
  if (members.every((m) => m.routed.facts.domain === facts.domain))
    return { ...scope, address: { ...facts, local: '' } };
  const { domain: _____, domainData: ______, ...rest } = facts;
  return { ...scope, address: { ...rest, local: '', domain: '' } };
}

/** The rules of `headers_rewrite`; malformed ones were refused when the configuration was read. */
function rewriteRules(t: TransportInstance): readonly RewriteRule[] {
  const position = t.position;
  return (t.options.headers_rewrite ?? []).flatMap((list) =>
    splitList(list).flatMap((text) => {
      const parsed = parseRewriteRule({ text, position }, false);
      return 'rule' in parsed ? [parsed.rule] : [];
    }),
  );
}

/** All recipients of a batch get one outcome, since there is one copy. */
async function once(
  t: LocalInstance,
  delivery: DeliveryAtHand,
  around: LocalSurroundings,
  signal: AbortSignal,
): Promise<readonly RecipientOutcome[]> {
  const outcome = await one();
  return delivery.batch.recipients.map(() => outcome);

  async function one(): Promise<RecipientOutcome> {
    switch (t.driver) {
      case 'appendfile':
        return outcomeOf(await deliverToFile(t, delivery, around, signal));
      case 'pipe':
        return pipeOutcome(t, delivery, around, await deliverToPipe(t, delivery, around, signal));
      case 'autoreply':
        return deliverReply(t, delivery, around, signal);
    }
  }
}

function outcomeOf(outcome: JobOutcome): RecipientOutcome {
  if (outcome.kind === 'done') return { kind: 'delivered' };
  const status = { text: outcome.text, ...(outcome.code === undefined ? {} : { code: outcome.code }) };
  return outcome.kind === 'failed'
    ? { kind: 'failed', status }
    : {
        kind: 'deferred',
        status,
        scope: 'address',
        ...(outcome.freeze === true ? { freeze: true } : {}),
      };
}

/** What is done with the output: logged, or returned to the sender (Exim manual, `return_output`, `log_output`, ...). */
function pipeOutcome(
  t: PipeInstance,
  { batch, claim, members }: DeliveryAtHand,
  around: LocalSurroundings,
  { outcome, output }: PipeResult,
): RecipientOutcome {
  const o = t.options;
  const result = outcomeOf(outcome);
  if (output === '') return result;
  const logged =
    o.log_output ||
    (o.log_fail_output && outcome.kind === 'failed') ||
    (o.log_defer_output && outcome.kind === 'deferred');
  if (logged) {
    const [line = ''] = output.replace(/^\s+/, '').split('\n');
    const { local, domain } = members[0].who.address;
    around.log(`${batch.id} <${local}@${domain}>: ${t.name} transport output: ${logText(line.trimEnd())}`);
  }
  // Nobody is told of the output where the message is a bounce.
  const told = claim.entry.envelope.sender !== null;
  if (!told) return result;
  if (o.return_output)
    return {
      kind: 'failed',
      status: { text: outcome.kind === 'done' ? 'return message generated' : outcome.text, output },
    };
  if (o.return_fail_output && result.kind === 'failed')
    return { kind: 'failed', status: { ...result.status, output } };
  return result;
}

const recipientVariable = /\$\{?(?:local_|domain|original_|parent_|address_|host|home|r_)/;

/** Options that may come out differently for each recipient: then recipients are not batched (Exim manual, "Address batching in local transports"). */
function dependsOnRecipient(t: AppendfileInstance | PipeInstance): boolean {
  return Object.values(t.options).some((value) =>
    (Array.isArray(value) ? value : [value]).some(
      (text) => typeof text === 'string' && recipientVariable.test(text),
    ),
  );
}
