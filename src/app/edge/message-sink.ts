/** The content of one message on its way from the SMTP session into the spool. */
import type { AclControls } from '../../acl/control.ts';
import { acceptance, type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import { createBodyMeter } from '../../mail/body-meter.ts';
import type { Expansion } from '../../expand/expand.ts';
import { decodeRfc2047 } from '../../expand/rfc2047.ts';
import type { Awaitable, BodyFacts, MessageFacts } from '../../expand/scope.ts';
import { formatAddress, formatPath } from '../../mail/address.ts';
import type { Envelope, Reception, Recipient } from '../../mail/envelope.ts';
import {
  findHeader,
  headerBody,
  type HeaderEdit,
  type HeaderField,
  inAngleBrackets,
  parseHeaderFields,
} from '../../mail/headers.ts';
import { lazy } from '../../mail/lazy.ts';
import { MailError } from '../../mail/mail-error.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { formatDate, receivedField } from '../../mail/received.ts';
import { reply } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import { arrivalLine, clientField, type LoggedClient } from '../../observe/reception-lines.ts';
import { rejectedHeader } from '../../observe/rejected-header.ts';
import type { MessageSink, Verdict } from '../../smtp/server/handler.ts';
import { freezeNotices } from '../../queue/freeze-tell.ts';
import type { Claim, Hold, SpoolWriter, Submission } from '../../spool/spool.ts';
import { programName } from '../version.ts';
import { headerSection } from './header-section.ts';
import type { EdgeParts } from './parts.ts';
import type { Rewriting } from './rewriting.ts';
import { submissionEdits } from './submission.ts';
import { errorText } from '../../mail/error-text.ts';

/** What expansions may look at once the content has come. */
export type ContentFacts = Required<Pick<MessageFacts, 'headers' | 'body'>>;

/** One message as the session knows it when DATA is given. */
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
  readonly freeze: AclControls['freeze'];
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

export function createMessageSink(parts: EdgeParts, incoming: Incoming, writer: SpoolWriter): MessageSink {
  const maxHeaderOctets = parts.options.header_maxsize;
  const maxReceived = parts.options.received_headers_max;
  const { logItems } = parts;
  const header = headerSection(maxHeaderOctets);
  const meter = createBodyMeter(parts.options.message_body_visible, () => header.size());
  const body = lazy(() => meter.facts());
  const fields = lazy(() => parseHeaderFields(header.text() ?? ''));

  async function refuse(verdict: Verdict, reason: string, temporary: boolean): Promise<Verdict> {
    await writer.abort();
    incoming.logRejection(
      'after DATA',
      { verdict: temporary ? 'defer' : 'deny', logMessage: reason, logTargets: ['main', 'reject'] },
      writer.id,
      headerDetails(),
    );
    return verdict;
  }

  /** For the reject log. */
  function headerDetails(): readonly string[] {
    if (!logItems.has('rejected_header')) return [];
    return rejectedHeader(incoming.envelope.sender, incoming.facts.recipients, fields());
  }

  return {
    write(chunk) {
      header.take(chunk);
      meter.take(chunk);
      return writer.write(chunk);
    },

    async end() {
      if (header.text() === undefined)
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
      const maxLine = parts.options.header_line_maxsize;
      const overlong = maxLine > 0 && fields().some((f) => f.raw.length > maxLine);
      if (overlong)
        return refuse(
          { reply: reply(552, '5.3.4', 'A message header line is too long') },
          `header line longer than ${maxLine} octets`,
          false,
        );
      // Exim counts a line end as one octet.
      const size = meter.octets() - meter.lines();
      incoming.facts.size = size;
      const rewriting = await incoming.rewrite?.(fields(), body);
      const arriving = rewriting === undefined ? incoming : rewritten(incoming, rewriting);
      const headers = rewriting === undefined ? fields : () => rewriting.fields;
      const result = await arriving.checkData({ headers, body });
      if (
        result !== undefined &&
        (result.verdict === 'deny' || result.verdict === 'drop' || result.verdict === 'defer')
      ) {
        await writer.abort();
        incoming.logRejection('after DATA', result, writer.id, headerDetails());
        return { reply: refusal(result, 'data'), close: result.verdict === 'drop' };
      }
      const edits =
        result === undefined
          ? incoming.headerEdits
          : mergeHeaderEdits(incoming.headerEdits, result.headerEdits);
      const recipients = result?.verdict === 'discard' ? [] : arriving.recipients;
      const trace = await traceField(parts, arriving, recipients, writer.id);
      if (typeof trace !== 'string') {
        parts.logs.panic(`expansion of received_header_text failed: ${logText(trace.problem)}`);
        return refuse(localProblem, 'received_header_text could not be expanded', true);
      }
      const accepted =
        (result === undefined ? undefined : acceptance(result, 250)) ??
        reply(250, undefined, `OK id=${writer.id}`);
      const arrived = arrivalLine(
        {
          id: writer.id,
          sender: arriving.envelope.sender,
          client: incoming.client,
          protocol: incoming.reception.protocol,
          // Exim counts the Received field it added.
          size: size + trace.replaceAll('\r\n', '\n').length,
          messageId: messageIdOf(headers()),
          body: arriving.envelope.body,
          pipelined: incoming.pipelined,
          receiveMs: Date.now() - incoming.facts.receivedAtMs,
          ...(logItems.has('subject') ? { subject: subjectOf(headers()) } : {}),
          recipients: incoming.facts.recipients,
        },
        logItems,
      );
      if (recipients.length === 0) {
        await writer.abort();
        parts.logs.main(arrived);
        parts.logs.main(
          `${writer.id} => blackhole (${result?.verdict === 'discard' ? 'DATA' : 'RCPT'} ACL discarded recipients)${result?.logMessage === undefined ? '' : `: ${logText(result.logMessage)}`}`,
        );
        parts.logs.main(`${writer.id} Completed`);
        return { reply: accepted };
      }
      const submission: Submission = {
        envelope: { ...arriving.envelope, recipients },
        reception: incoming.reception,
        headerEdits: [
          ...(rewriting?.edits ?? []),
          ...(incoming.submission === undefined
            ? []
            : submissionEdits(headers(), {
                ...incoming.submission,
                id: writer.id,
                domain: parts.main.primaryHostname,
                sender: arriving.envelope.sender,
                atMs: incoming.reception.receivedAtMs,
              })),
          ...(trace === '' ? [] : [{ kind: 'add', where: 'top', text: trace } as const]),
          ...removals(parts, headers()),
          ...edits,
        ],
        variables: Object.fromEntries(incoming.facts.variables),
      };
      const freeze = result?.controls.freeze ?? incoming.freeze;
      const hold = freeze !== undefined || incoming.queueOnly || result?.controls.queueOnly === true;
      const nowMs = Date.now();
      let claim: Claim | undefined;
      try {
        claim = await writer.commit(
          submission,
          hold
            ? holdOf(parts, { id: writer.id, ...submission }, freeze, nowMs)
            : parts.queue.hasRoom()
              ? parts.leaseMs
              : 0,
          nowMs,
        );
      } catch (error) {
        return refuse(...commitFailure(error));
      }
      parts.logs.main(arrived);
      if (claim !== undefined) parts.queue.deliverNow(claim);
      else if (!hold) parts.queue.wake();
      return { reply: accepted };
    },

    async abort(_, tooBig) {
      await writer.abort();
      if (tooBig !== true) return;
      const line = `${writer.id} rejected from ${logText(formatPath(incoming.envelope.sender))} ${clientField(incoming.client, logItems)}: message too big: read=${meter.octets()} max=${parts.options.message_size_limit}`;
      if (logItems.has('size_reject')) parts.logs.main(line);
      parts.logs.reject(line, headerDetails());
    },
  };
}

/** What is known of the message once it is rewritten; variables follow. */
function rewritten(incoming: Incoming, { sender, recipients }: Rewriting): Incoming {
  incoming.facts.sender = sender;
  incoming.facts.recipients = recipients.map((r) => r.address);
  return { ...incoming, envelope: { ...incoming.envelope, sender }, recipients };
}

/** Frozen, or due at the next queue run. */
function holdOf(
  parts: EdgeParts,
  message: Submission & { readonly id: QueueId },
  freeze: { readonly tell: boolean } | undefined,
  nowMs: number,
): Hold {
  const nextAttemptAtMs = nowMs + parts.queueIntervalMs;
  if (freeze === undefined) return { nextAttemptAtMs };
  const generated = freeze.tell
    ? freezeNotices(parts.freezeTell, message, undefined, () => undefined, nowMs)
    : [];
  return { nextAttemptAtMs, frozenAtMs: nowMs, ...(generated.length === 0 ? {} : { generated }) };
}

function commitFailure(error: unknown): [Verdict, string, true] {
  const reason = errorText(error);
  if (error instanceof MailError && error.code === 'NO_SPACE')
    return [
      { reply: reply(452, '4.3.1', 'space shortage, please try later') },
      `space shortage: ${reason}`,
      true,
    ];
  return [localProblem, `cannot store the message: ${reason}`, true];
}

const localProblem: Verdict = {
  reply: reply(451, '4.3.0', 'Temporary local problem - please try later'),
};

/** Fields that belong to a final delivery (Exim manual, "return_path_remove" and its relatives). */
function removals({ options }: EdgeParts, fields: readonly HeaderField[]): HeaderEdit[] {
  const unwanted = [
    options.return_path_remove ? 'return-path' : '',
    options.delivery_date_remove ? 'delivery-date' : '',
    options.envelope_to_remove ? 'envelope-to' : '',
  ];
  const present = new Set(fields.map((f) => f.name.toLowerCase()));
  return unwanted.filter((name) => present.has(name)).map((name) => ({ kind: 'remove', name }));
}

/** The Received field, by `received_header_text` where that is set; an empty text for none. */
async function traceField(
  parts: EdgeParts,
  incoming: Incoming,
  recipients: readonly Recipient[],
  id: string,
): Promise<string | { readonly problem: string }> {
  if (parts.receivedHeaderText === undefined) return receivedText(parts, incoming, recipients, id);
  const result = await incoming.expand(parts.receivedHeaderText);
  if (result.kind !== 'ok')
    return { problem: result.kind === 'forced-fail' ? 'forced failure' : result.reason };
  const text = result.text.trimEnd();
  if (text === '') return '';
  return `${text.replace(/\r?\n/g, '\r\n')};\r\n\t${formatDate(incoming.reception.receivedAtMs)}\r\n`;
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

/** A line of RFC 5322 holds no more. */
const maxLoggedIdOctets = 998;

/** The Message-ID without its angle brackets, as the log has it. */
function messageIdOf(fields: readonly HeaderField[]): string | undefined {
  const field = findHeader(fields, 'message-id');
  if (field === undefined) return undefined;
  return inAngleBrackets(headerBody(field))?.slice(0, maxLoggedIdOctets);
}

/** The Subject field as `subject` logs it: words of RFC 2047 decoded. */
function subjectOf(fields: readonly HeaderField[]): string | undefined {
  const field = findHeader(fields, 'subject');
  return field === undefined ? undefined : decodeRfc2047(headerBody(field).trim(), 'UTF-8');
}
