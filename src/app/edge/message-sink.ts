/** The content of one message on its way from the SMTP session into the spool. */
import { acceptance, refusal } from '../../acl/result.ts';
import { createBodyMeter } from '../../mail/body-meter.ts';
import { formatPath } from '../../mail/address.ts';
import { parseHeaderFields } from '../../mail/headers.ts';
import { lazy } from '../../mail/lazy.ts';
import { type Reply, reply } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import { clientField } from '../../observe/reception-lines.ts';
import { rejectedHeader } from '../../observe/rejected-header.ts';
import type { ContentVerdict, MessageSink } from '../../smtp/server/handler.ts';
import type { SpoolWriter } from '../../spool/spool.ts';
import { submissionOf } from './accepted-message.ts';
import { arrivalOf } from './arrival.ts';
import { earlyHandOver } from './early-hand-over.ts';
import { headerSection } from './header-section.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';
import type { Rewriting } from './rewriting.ts';
import { localProblem, takeOver, termsOf } from './take-over.ts';
import { traceField } from './trace-field.ts';

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
  const terms = termsOf(incoming);
  const early =
    terms !== undefined &&
    incoming.streams &&
    maxLine !== undefined &&
    !incoming.queueOnly &&
    incoming.freeze === undefined
      ? earlyHandOver(parts.direct, terms, incoming.envelope.declaredSize ?? 0, parts.streaming)
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
      const arrived = arrivalOf(parts, incoming, writer.id, {
        envelope: arriving.envelope,
        headers: headers(),
        // Exim counts the Received field it added.
        size: size + trace.replaceAll('\r\n', '\n').length,
      });
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
      const whole = {
        message: { id: writer.id, ...submission },
        octets: meter.octets(),
        arrived,
        accepted,
        freeze,
        hold,
      };
      const taken = await takeOver(parts, incoming, writer, whole, terms, early);
      return 'refused' in taken ? refuse(taken.refused, taken.reason, taken.temporary) : taken;
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

/** What is known of the message once it is rewritten; variables follow. */
function rewritten(incoming: Incoming, { sender, recipients }: Rewriting): Incoming {
  incoming.facts.sender = sender;
  incoming.facts.recipients = recipients.map((r) => r.address);
  return { ...incoming, envelope: { ...incoming.envelope, sender }, recipients };
}
