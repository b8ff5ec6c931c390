/** The content of one message on its way from the SMTP session into the spool. */
import { acceptance, type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import type { MessageFacts } from '../../expand/scope.ts';
import { formatAddress } from '../../mail/address.ts';
import type { Envelope, Reception, Recipient } from '../../mail/envelope.ts';
import {
  findHeader,
  headerBody,
  type HeaderEdit,
  type HeaderField,
  parseHeaderFields,
} from '../../mail/headers.ts';
import { MailError } from '../../mail/mail-error.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { receivedField } from '../../mail/received.ts';
import { reply } from '../../mail/reply.ts';
import { arrivalLine, type LoggedClient } from '../../observe/reception-lines.ts';
import type { MessageSink, Verdict } from '../../smtp/server/handler.ts';
import type { Claim, SpoolWriter, Submission } from '../../spool/spool.ts';
import { programName } from '../version.ts';
import type { EdgeParts } from './parts.ts';

/** One message as the session knows it when DATA is given. */
export interface Incoming {
  readonly envelope: Omit<Envelope, 'recipients'>;
  readonly recipients: readonly Recipient[];
  readonly reception: Reception;
  readonly client: LoggedClient;
  readonly facts: MessageFacts;
  /** What the earlier ACLs asked for. */
  readonly headerEdits: readonly HeaderEdit[];
  readonly queueOnly: boolean;
  readonly freeze: boolean;
  /** Runs the DATA ACL; undefined where there is none. */
  readonly checkData: (headers: () => readonly HeaderField[]) => Promise<AclResult> | undefined;
  readonly logRejection: (
    what: string,
    result: Pick<AclResult, 'verdict' | 'logMessage' | 'logTargets'>,
    id: QueueId,
  ) => void;
}

export function createMessageSink(parts: EdgeParts, incoming: Incoming, writer: SpoolWriter): MessageSink {
  const maxHeaderOctets = parts.options.header_maxsize;
  const maxReceived = parts.options.received_headers_max;
  let size = 0;
  let lines = 0;
  let head: Buffer | undefined = Buffer.alloc(0);
  let headerText = '';
  let headersTooLong = false;
  const fields = lazy(() => parseHeaderFields(headerText));

  function takeHeader(chunk: Uint8Array): void {
    if (head === undefined) return;
    head = head.length === 0 ? Buffer.from(chunk) : Buffer.concat([head, chunk]);
    const end = head.subarray(0, 2).toString('latin1') === '\r\n' ? 0 : head.indexOf('\r\n\r\n');
    if (end >= 0) {
      headerText = head.toString('latin1', 0, end === 0 ? 0 : end + 2);
      head = undefined;
    } else if (head.length > maxHeaderOctets) {
      headersTooLong = true;
      head = undefined;
    }
  }

  async function refuse(verdict: Verdict, reason: string, temporary: boolean): Promise<Verdict> {
    await writer.abort();
    incoming.logRejection(
      'after DATA',
      { verdict: temporary ? 'defer' : 'deny', logMessage: reason, logTargets: ['main', 'reject'] },
      writer.id,
    );
    return verdict;
  }

  return {
    write(chunk) {
      size += chunk.length;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
      takeHeader(chunk);
      return writer.write(chunk);
    },

    async end() {
      if (head !== undefined) headerText = head.toString('latin1');
      if (headersTooLong)
        return refuse(
          { reply: reply(552, '5.3.4', 'Message header is too big') },
          `header longer than ${maxHeaderOctets} octets`,
          false,
        );
      const received = fields().reduce((n, f) => (f.name.toLowerCase() === 'received' ? n + 1 : n), 0);
      if (received > maxReceived)
        return refuse(
          { reply: reply(550, '5.4.6', 'Too many "Received" headers - suspected mail loop') },
          `${received} Received fields`,
          false,
        );
      incoming.facts.size = size;
      const result = await incoming.checkData(fields);
      if (
        result !== undefined &&
        (result.verdict === 'deny' || result.verdict === 'drop' || result.verdict === 'defer')
      ) {
        await writer.abort();
        incoming.logRejection('after DATA', result, writer.id);
        return { reply: refusal(result, 'data'), close: result.verdict === 'drop' };
      }
      const edits =
        result === undefined
          ? incoming.headerEdits
          : mergeHeaderEdits(incoming.headerEdits, result.headerEdits);
      const recipients = result?.verdict === 'discard' ? [] : incoming.recipients;
      const trace = receivedText(parts, incoming, recipients, writer.id);
      const accepted =
        (result === undefined ? undefined : acceptance(result, 250)) ??
        reply(250, undefined, `OK id=${writer.id}`);
      const arrived = arrivalLine({
        id: writer.id,
        sender: incoming.envelope.sender,
        client: incoming.client,
        protocol: incoming.reception.protocol,
        // Exim counts a line end as one octet, and the Received field it added.
        size: size - lines + trace.replaceAll('\r\n', '\n').length,
        messageId: messageIdOf(fields()),
      });
      if (recipients.length === 0) {
        await writer.abort();
        parts.logs.main(arrived);
        parts.logs.main(
          `${writer.id} => blackhole (${result?.verdict === 'discard' ? 'DATA' : 'RCPT'} ACL discarded recipients)${result?.logMessage === undefined ? '' : `: ${result.logMessage}`}`,
        );
        parts.logs.main(`${writer.id} Completed`);
        return { reply: accepted };
      }
      const submission: Submission = {
        envelope: { ...incoming.envelope, recipients },
        reception: incoming.reception,
        headerEdits: [{ kind: 'add', where: 'top', text: trace }, ...edits],
        variables: Object.fromEntries(incoming.facts.variables),
      };
      const freeze = incoming.freeze || result?.controls.freeze !== undefined;
      const hold = freeze || incoming.queueOnly || result?.controls.queueOnly === true;
      let claim: Claim | undefined;
      try {
        const nowMs = Date.now();
        claim = await writer.commit(submission, hold || parts.queue.hasRoom() ? parts.leaseMs : 0, nowMs);
        if (hold && claim !== undefined) {
          await holdBack(parts, claim, freeze, nowMs);
          claim = undefined;
        }
      } catch (error) {
        return refuse(...commitFailure(error));
      }
      parts.logs.main(arrived);
      if (claim !== undefined) parts.queue.deliverNow(claim);
      else if (!hold) parts.queue.wake();
      return { reply: accepted };
    },

    async abort() {
      await writer.abort();
    },
  };
}

/** Gives a message that was born claimed back to the spool: frozen, or due at the next queue run. */
async function holdBack(parts: EdgeParts, claim: Claim, freeze: boolean, nowMs: number): Promise<void> {
  const nextAttemptAtMs = nowMs + parts.queueIntervalMs;
  await parts.spool.record(claim, {
    outcomes: claim.entry.states.map((_, recipient) => ({
      recipient,
      state: { kind: 'pending', nextAttemptAtMs, attempts: 0 },
    })),
    ...(freeze ? { frozenAtMs: nowMs } : {}),
    release: true,
  });
}

function commitFailure(error: unknown): [Verdict, string, true] {
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof MailError && error.code === 'NO_SPACE')
    return [
      { reply: reply(452, '4.3.1', 'space shortage, please try later') },
      `space shortage: ${reason}`,
      true,
    ];
  return [
    { reply: reply(451, '4.3.0', 'Temporary local problem - please try later') },
    `cannot store the message: ${reason}`,
    true,
  ];
}

function receivedText(
  parts: EdgeParts,
  incoming: Incoming,
  recipients: readonly Recipient[],
  id: string,
): string {
  const { reception } = incoming;
  const [only, second] = recipients;
  return receivedField({
    id,
    ...(reception.hostAddress === undefined ? {} : { hostAddress: reception.hostAddress }),
    ...(reception.hostName === undefined ? {} : { hostName: reception.hostName }),
    ...(reception.helo === undefined ? {} : { helo: reception.helo }),
    by: parts.main.primaryHostname,
    protocol: reception.protocol,
    program: programName,
    sender: formatAddress(incoming.envelope.sender),
    ...(only === undefined || second !== undefined ? {} : { recipient: formatAddress(only.address) }),
    atMs: reception.receivedAtMs,
  });
}

/** The Message-ID without its angle brackets, as the log has it. */
function messageIdOf(fields: readonly HeaderField[]): string | undefined {
  const field = findHeader(fields, 'message-id');
  return field === undefined ? undefined : /<([^>]*)>/.exec(headerBody(field))?.[1];
}

function lazy<T>(make: () => T): () => T {
  let value: { readonly made: T } | undefined;
  return () => (value ??= { made: make() }).made;
}
