/** The Received field of a message that comes in (Exim manual, "received_header_text"; RFC 5321 §4.4). */
import { formatAddress } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import { formatDate, receivedField } from '../../mail/received.ts';
import { programName } from '../version.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';

type TraceParts = Pick<EdgeParts, 'receivedHeaderText' | 'main'>;
type Traced = Pick<Incoming, 'expand' | 'reception' | 'envelope'>;

/** The Received field, by `received_header_text` where that is set; an empty text for none. */
export async function traceField(
  parts: TraceParts,
  incoming: Traced,
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
  parts: TraceParts,
  incoming: Traced,
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
