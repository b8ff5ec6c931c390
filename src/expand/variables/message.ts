/** Variables of the message and its envelope. */
import type { Address } from '../../mail/address.ts';
import { formatAddress } from '../../mail/address.ts';
import { allHeaders, headerText } from '../headers.ts';
import type { VariableRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import type { MessageFacts } from '../scope.ts';

type Read = (m: MessageFacts, f: Frame) => string | undefined;

const clean = (read: Read, otherwise = ''): VariableRow => ({
  read: (f) => (f.scope.message === undefined ? otherwise : (read(f.scope.message, f) ?? otherwise)),
});
const wire = (read: Read): VariableRow => ({ ...clean(read), tainted: true });

const seconds = (ms: number): string => String(Math.floor(ms / 1000));
const list = (addresses: readonly Address[]): string => addresses.map(formatAddress).join(', ');

export const messageVariables: Readonly<Record<string, VariableRow>> = {
  message_exim_id: clean((m) => m.id),
  message_id: clean((m) => m.id),
  message_size: clean((m) => String(m.size >= 0 ? m.size : m.declaredSize), '0'),
  message_age: clean((m) => seconds(Date.now() - m.receivedAtMs), '0'),
  received_time: clean((m) => seconds(m.receivedAtMs), '0'),
  sender_address: wire((m) => formatAddress(m.sender)),
  sender_address_local_part: wire((m) => m.sender?.local),
  sender_address_domain: wire((m) => m.sender?.domain),
  return_path: wire((m) => formatAddress(m.sender)),
  recipients: wire((m) => list(m.recipients)),
  recipients_count: clean((m) => String(m.recipients.length), '0'),
  rcpt_count: clean((m) => String(m.rcptCount), '0'),
  received_for: wire((m) => (m.recipients.length === 1 ? list(m.recipients) : '')),
  received_count: clean(
    (m) => m.headers && String(m.headers().filter((h) => h.name.toLowerCase() === 'received').length),
    '0',
  ),
  message_headers: wire((_, f) => allHeaders(f.scope, true)),
  message_headers_raw: wire((_, f) => allHeaders(f.scope, false)),
  reply_address: wire((_, f) => {
    const reply = headerText('r', 'reply-to', f.scope).trim();
    return reply === '' ? headerText('r', 'from', f.scope).trim() : reply;
  }),
};
