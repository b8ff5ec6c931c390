/** The content of one message on its way from the SMTP session into the spool. */
import type { AclControls } from '../../acl/control.ts';
import { acceptance, type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import { createBodyMeter } from '../../mail/body-meter.ts';
import { decodeRfc2047 } from '../../expand/rfc2047.ts';
import { formatAddress, formatPath } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
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
import { type Reply, reply } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import { arrivalLine, clientField } from '../../observe/reception-lines.ts';
import { rejectedHeader } from '../../observe/rejected-header.ts';
import type { ContentVerdict, MessageSink, Verdict } from '../../smtp/server/handler.ts';
import type { DirectResult, DirectTerms } from '../../queue/direct.ts';
import { freezeNotices } from '../../queue/freeze-tell.ts';
import type { Claim, Hold, SpoolWriter, Submission } from '../../spool/spool.ts';
import { programName } from '../version.ts';
import { earlyHandOver } from './early-hand-over.ts';
import { judgeHandOver, recipientReply } from './hand-over.ts';
import { headerSection } from './header-section.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';
import type { Rewriting } from './rewriting.ts';
import { submissionEdits } from './submission.ts';
import { errorText } from '../../mail/error-text.ts';

export function createMessageSink(parts: EdgeParts, incoming: Incoming, writer: SpoolWriter): MessageSink {
  const maxHeaderOctets = parts.options.header_maxsize;
  const maxReceived = parts.options.received_headers_max;
  const { logItems } = parts;
  const header = headerSection(maxHeaderOctets);
  const meter = createBodyMeter(parts.options.message_body_visible, () => header.size());
  const body = lazy(() => meter.facts());
  const fields = lazy(() => parseHeaderFields(header.text() ?? ''));

  async function refuse(
    verdict: ContentVerdict,
    reason: string,
    temporary: boolean,
  ): Promise<ContentVerdict> {
    await early?.fail(reason);
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

  /** What the header section alone is refused for. */
  function faultOfHeader(): readonly [Reply, string] | undefined {
    if (header.text() === undefined)
      return [
        reply(552, '5.3.4', 'Message header is too big'),
        `header longer than ${maxHeaderOctets} octets`,
      ];
    const received = fields().reduce((n, f) => (f.name.toLowerCase() === 'received' ? n + 1 : n), 0);
    if (received > maxReceived)
      return [
        reply(550, '5.4.6', 'Too many "Received" headers - suspected mail loop'),
        `${received} Received fields`,
      ];
    const maxLine = parts.options.header_line_maxsize;
    if (maxLine > 0 && fields().some((f) => f.raw.length > maxLine))
      return [
        reply(552, '5.3.4', 'A message header line is too long'),
        `header line longer than ${maxLine} octets`,
      ];
    return undefined;
  }

  /** Hands the message on while it arrives, where nothing that is still to come can change what is handed on. */
  let earlyTrace = '';
  const maxLine = parts.streaming.maxLineOctets;
  const early =
    incoming.direct !== undefined &&
    incoming.streams &&
    maxLine !== undefined &&
    !incoming.queueOnly &&
    incoming.freeze === undefined
      ? earlyHandOver(
          parts.direct,
          termsOf(incoming, incoming.direct),
          incoming.envelope.declaredSize ?? 0,
          parts.streaming,
        )
      : undefined;

  return {
    write(chunk) {
      header.take(chunk);
      meter.take(chunk);
      const kept = writer.write(chunk);
      if (maxLine !== undefined && meter.longestLine() > maxLine) early?.cancel('a line of it is too long');
      const passed = early?.take(chunk, async () => {
        const headerSize = header.size();
        if (headerSize === undefined || faultOfHeader() !== undefined) return undefined;
        const trace = await traceField(parts, incoming, incoming.recipients, writer.id);
        if (typeof trace !== 'string') return undefined;
        earlyTrace = trace;
        const submission = submissionOf(parts, incoming, writer.id, fields(), trace, undefined);
        return { message: { id: writer.id, ...submission }, headerSize };
      });
      return passed === undefined ? kept : Promise.all([kept, passed]).then(() => undefined);
    },

    async end() {
      const fault = faultOfHeader();
      if (fault !== undefined) return refuse({ reply: fault[0] }, fault[1], false);
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
        await early?.fail('the DATA ACL refused the message');
        await writer.abort();
        incoming.logRejection('after DATA', result, writer.id, headerDetails());
        return { reply: refusal(result, 'data'), close: result.verdict === 'drop' };
      }
      const recipients = result?.verdict === 'discard' ? [] : arriving.recipients;
      const under = early?.message;
      const trace =
        under === undefined ? await traceField(parts, arriving, recipients, writer.id) : earlyTrace;
      if (typeof trace !== 'string') {
        parts.logs.panic(`expansion of received_header_text failed: ${logText(trace.problem)}`);
        return refuse(localProblem, 'received_header_text could not be expanded', true);
      }
      const made =
        under ??
        submissionOf(parts, { ...arriving, recipients }, writer.id, headers(), trace, { rewriting, result });
      const submission = {
        ...made,
        reception: { ...made.reception, longestLine: meter.longestLine() },
      };
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
          ...createdId(parts, incoming.submission !== undefined, headers(), writer.id),
          body: arriving.envelope.body,
          pipelined: incoming.pipelined,
          receiveMs: Date.now() - incoming.facts.receivedAtMs,
          ...(logItems.has('subject')
            ? { subject: subjectOf(headers(), parts.options.check_rfc2047_length) }
            : {}),
          // As they came: rewriting does not change what is logged here.
          recipients: incoming.recipients.map((r) => r.address),
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
      const freeze = result?.controls.freeze ?? incoming.freeze;
      const hold = freeze !== undefined || incoming.queueOnly || result?.controls.queueOnly === true;
      const nowMs = Date.now();
      const message = { id: writer.id, ...submission };
      const each = incoming.accepted !== undefined;
      let direct: DirectResult | undefined;
      let verdict: ContentVerdict = { reply: accepted };
      if (incoming.direct !== undefined && !hold) {
        const terms = termsOf(incoming, incoming.direct);
        try {
          const written = await writer.content();
          direct = await (early?.end(written.source) ?? parts.direct(message, written, terms));
        } catch (error) {
          return refuse(...commitFailure(error));
        }
        const { answers } = direct;
        verdict = forEach(incoming, accepted, (i) =>
          recipientReply(answers[i] ?? { kind: 'untried' }, terms.defer),
        );
        const handed = judgeHandOver(direct, recipients, terms.defer, each);
        if (handed.kind === 'refused')
          return refuse({ ...verdict, reply: handed.reply }, handed.reason, handed.reply.code < 500);
        if (handed.kind === 'done') {
          await writer.abort();
          direct.tell(meter.octets(), () => parts.logs.main(arrived));
          return verdict;
        }
      } else if (each) verdict = forEach(incoming, accepted, () => accepted);
      let claim: Claim | undefined;
      try {
        claim = await writer.commit(
          submission,
          hold
            ? holdOf(parts, message, freeze, nowMs)
            : direct !== undefined || parts.queue.hasRoom()
              ? parts.leaseMs
              : 0,
          nowMs,
          direct?.states,
        );
      } catch (error) {
        direct?.tellStored();
        return refuse(...commitFailure(error));
      }
      parts.logs.main(arrived);
      if (hold && freeze === undefined && incoming.load !== undefined && logItems.has('delay_delivery'))
        parts.logs.main(`${writer.id} no immediate delivery: load average ${incoming.load.toFixed(2)}`);
      if (direct !== undefined && claim !== undefined) {
        try {
          await direct.record(claim);
        } catch (error) {
          // It is safe in the spool, and the queue finds out once more what could not be written down.
          parts.logs.panic(`${writer.id} outcomes are not recorded: ${logText(errorText(error))}`);
        }
        parts.queue.wake();
      } else if (claim !== undefined) parts.queue.deliverNow(claim);
      else if (!hold) parts.queue.wake();
      return verdict;
    },

    async abort(_, tooBig) {
      await early?.fail('the message did not come to its end');
      await writer.abort();
      if (tooBig !== true) return;
      const line = `${writer.id} rejected from ${logText(formatPath(incoming.envelope.sender))} ${clientField(incoming.client, logItems)}: message too big: read=${meter.octets()} max=${parts.options.message_size_limit}`;
      if (logItems.has('size_reject')) parts.logs.main(line);
      parts.logs.reject(line, headerDetails());
    },
  };
}

function termsOf({ accepted, held }: Incoming, { defer }: NonNullable<AclControls['direct']>): DirectTerms {
  const told = accepted !== undefined;
  return held === undefined ? { told, defer } : { told, defer, held };
}

/** What is fixed of a message when it is accepted. */
function submissionOf(
  parts: EdgeParts,
  incoming: Incoming,
  id: QueueId,
  headers: readonly HeaderField[],
  trace: string,
  late: { readonly rewriting: Rewriting | undefined; readonly result: AclResult | undefined } | undefined,
): Submission {
  const { envelope, recipients, reception, submission } = incoming;
  const edits =
    late?.result === undefined
      ? incoming.headerEdits
      : mergeHeaderEdits(incoming.headerEdits, late.result.headerEdits);
  return {
    envelope: { ...envelope, recipients },
    reception,
    headerEdits: [
      ...(late?.rewriting?.edits ?? []),
      ...(submission === undefined
        ? []
        : submissionEdits(headers, {
            ...submission,
            id,
            domain: parts.main.primaryHostname,
            sender: envelope.sender,
            atMs: reception.receivedAtMs,
          })),
      ...(trace === '' ? [] : [{ kind: 'add', where: 'top', text: trace } as const]),
      ...removals(parts, headers),
      ...edits,
    ],
    variables: Object.fromEntries(incoming.facts.variables),
  };
}

/** Adds what a sender hears of each recipient, by the position it has; one who asked for nothing of the kind gets the one reply. */
function forEach(
  { accepted, recipients }: Incoming,
  last: Reply,
  replyOf: (position: number) => Reply,
): ContentVerdict {
  if (accepted === undefined) return { reply: last };
  // Rewriting keeps the positions.
  const positions = new Map(recipients.map((r, i) => [r, i]));
  const replies = accepted.map((r) => {
    const position = r === undefined ? undefined : positions.get(r);
    return position === undefined ? last : replyOf(position);
  });
  return { reply: last, recipients: replies };
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

/** The Message-ID that `control = submission` adds. */
function createdId(
  { main }: EdgeParts,
  submission: boolean,
  fields: readonly HeaderField[],
  id: QueueId,
): { readonly createdId?: string } {
  if (!submission || findHeader(fields, 'message-id') !== undefined) return {};
  return { createdId: `E${id}@${main.primaryHostname}` };
}

/** The Subject field as `subject` logs it: words of RFC 2047 decoded. */
function subjectOf(fields: readonly HeaderField[], checkLength: boolean): string | undefined {
  const field = findHeader(fields, 'subject');
  return field === undefined ? undefined : decodeRfc2047(headerBody(field).trim(), 'UTF-8', checkLength);
}
