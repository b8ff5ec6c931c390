/** One message as the session knows it when DATA is given. */
import { loadavg } from 'node:os';
import type { AclControls } from '../../acl/control.ts';
import { leavesMessage } from '../../acl/leaves-message.ts';
import type { AclResult } from '../../acl/result.ts';
import { type Expansion, expandText } from '../../expand/expand.ts';
import type { Awaitable, BodyFacts, ConnectionFacts, ExpandScope, MessageFacts } from '../../expand/scope.ts';
import type { Envelope, Reception, Recipient } from '../../mail/envelope.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { logText } from '../../observe/log-text.ts';
import type { LoggedClient } from '../../observe/reception-lines.ts';
import type { ClientFacts } from '../../smtp/server/handler.ts';
import type { HeldDelivery } from '../../transport/transport.ts';
import type { EdgeParts } from './parts.ts';
import { type Rewriting, rewriteMessage } from './rewriting.ts';
import type { SessionAcls } from './session-acls.ts';
import type { SessionLog } from './session-log.ts';
import type { Transaction } from './transaction.ts';

/** What expansions may look at once the content has come. */
type ContentFacts = Required<Pick<MessageFacts, 'headers' | 'body'>>;

export interface Incoming {
  readonly envelope: Omit<Envelope, 'recipients'>;
  readonly recipients: readonly Recipient[];
  readonly reception: Reception;
  readonly client: LoggedClient;
  /** Whether PIPELINING was used; undefined where it was not offered. */
  readonly pipelined: boolean | undefined;
  readonly facts: MessageFacts;
  /** Expands a text with what is known of the connection and the message. */
  readonly expand: (text: string) => Awaitable<Expansion>;
  /** `control = submission`. */
  readonly submission: AclControls['submission'];
  /** What the earlier ACLs asked for. */
  readonly headerEdits: readonly HeaderEdit[];
  readonly queueOnly: boolean;
  /** The load of the machine, where that is why. */
  readonly load?: number | undefined;
  readonly freeze: AclControls['freeze'];
  /** Hand it over before it is spooled. */
  readonly direct?: AclControls['direct'];
  /** Transactions that were begun for it. */
  readonly held: readonly HeldDelivery[] | undefined;
  /** Nothing that happens at the end of the content can change what is handed over. */
  readonly streams: boolean;
  /** For a sender who wants a reply for each: which recipient each accepted RCPT became; undefined for a discarded one. */
  readonly accepted?: readonly (Recipient | undefined)[];
  /** Rewrites addresses of envelope and header lines; absent where there are no rules. */
  readonly rewrite?: (headers: readonly HeaderField[], body: () => BodyFacts) => Promise<Rewriting>;
  /** Runs the DATA ACL; undefined where there is none. */
  readonly checkData: (content: ContentFacts) => Promise<AclResult> | undefined;
  readonly logRejection: (
    what: string,
    result: Pick<AclResult, 'verdict' | 'logMessage' | 'logTargets'>,
    id: QueueId,
    details?: readonly string[],
  ) => void;
}

/** What was settled before the content, and where later questions go. */
interface IncomingFrom extends Pick<Incoming, 'pipelined' | 'direct' | 'held'> {
  readonly id: QueueId;
  readonly transaction: Transaction;
  readonly connection: ConnectionFacts;
  readonly client: ClientFacts;
  readonly scope: () => ExpandScope;
  readonly check: SessionAcls['check'];
  readonly log: Pick<SessionLog, 'client' | 'rejection'>;
}

export function incomingMessage(parts: EdgeParts, from: IncomingFrom): Incoming {
  const { options, logs, logItems } = parts;
  const { id, transaction: t, connection, client, pipelined, direct, held, scope, check, log } = from;
  const { prdr: _, ...envelopeParams } = t.command.params;
  const { hostName, helo } = connection;
  const asked = t.controls.queueOnly === true || options.queue_only || parts.queueOnlyFile();
  const load = tooLoaded(options.queue_only_load);
  return {
    envelope: { sender: t.command.sender, ...envelopeParams },
    recipients: t.recipients,
    reception: {
      protocol: connection.protocol,
      hostAddress: client.remoteAddress,
      hostPort: client.remotePort,
      interfaceAddress: client.localAddress,
      interfacePort: client.localPort,
      receivedAtMs: t.facts.receivedAtMs,
      ...(hostName === undefined ? {} : { hostName }),
      ...(helo === undefined ? {} : { helo }),
    },
    client: log.client(),
    pipelined,
    facts: t.facts,
    expand: (text) => expandText(text, { ...scope(), message: t.facts }),
    submission: t.controls.submission,
    headerEdits: t.headerEdits,
    queueOnly: asked || load !== undefined,
    load: asked ? undefined : load,
    freeze: t.controls.freeze,
    ...(direct === undefined ? {} : { direct }),
    held,
    streams:
      parts.rewriteRules.length === 0 &&
      (options.acl_smtp_data === undefined || leavesMessage(parts.acls, options.acl_smtp_data)),
    ...(t.command.params.prdr === true ? { accepted: t.accepted } : {}),
    ...(parts.rewriteRules.length === 0
      ? {}
      : {
          rewrite: (headers: readonly HeaderField[], body: () => BodyFacts) =>
            rewriteMessage(
              parts.rewriteRules,
              { sender: t.facts.sender, recipients: t.recipients, fields: headers },
              (sender) => ({
                ...scope(),
                message: { ...t.facts, sender, headers: () => headers, body },
              }),
              (text) => logs.main(logText(`${id} ${text}`)),
              logItems.has('address_rewrite') ? (text) => logs.main(logText(`${id} ${text}`)) : undefined,
            ),
        }),
    checkData: (content) => {
      const result = check('data', options.acl_smtp_data, {
        ...scope(),
        message: { ...t.facts, ...content },
      });
      return result === undefined ? undefined : Promise.resolve(result);
    },
    logRejection: log.rejection,
  };
}

/** `queue_only_load`: the load, where it is above that. */
function tooLoaded(limit: number | undefined): number | undefined {
  const [load = 0] = limit === undefined ? [] : loadavg();
  return limit !== undefined && load > limit ? load : undefined;
}
