/** The log line of a message that has come in (Exim manual, "Logging message reception"). */
import { decodeRfc2047 } from '../../expand/rfc2047.ts';
import type { Envelope } from '../../mail/envelope.ts';
import { findHeader, headerBody, type HeaderField, inAngleBrackets } from '../../mail/headers.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { arrivalLine } from '../../observe/reception-lines.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';

/**
 * @param incoming the message as it came
 * @param message what became of it by rewriting
 */
export function arrivalOf(
  parts: Pick<EdgeParts, 'main' | 'options' | 'logItems'>,
  incoming: Pick<Incoming, 'client' | 'reception' | 'submission' | 'pipelined' | 'facts' | 'recipients'>,
  id: QueueId,
  message: {
    readonly envelope: Pick<Envelope, 'sender' | 'body'>;
    readonly headers: readonly HeaderField[];
    /** Octets, a line end counted as one. */
    readonly size: number;
  },
): string {
  const { logItems } = parts;
  const { envelope, headers, size } = message;
  return arrivalLine(
    {
      id,
      sender: envelope.sender,
      client: incoming.client,
      protocol: incoming.reception.protocol,
      size,
      messageId: messageIdOf(headers),
      ...createdId(parts, incoming.submission !== undefined, headers, id),
      body: envelope.body,
      pipelined: incoming.pipelined,
      receiveMs: Date.now() - incoming.facts.receivedAtMs,
      ...(logItems.has('subject') ? { subject: subjectOf(headers, parts.options.check_rfc2047_length) } : {}),
      // As they came: rewriting does not change what is logged here.
      recipients: incoming.recipients.map((r) => r.address),
    },
    logItems,
  );
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
  { main }: Pick<EdgeParts, 'main'>,
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
