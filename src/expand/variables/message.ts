/** Variables of the message and its envelope. */
import type { Address } from '../../mail/address.ts';
import { formatAddress } from '../../mail/address.ts';
import { allHeaders, headerText } from '../headers.ts';
import type { VariableRow } from '../evaluator.ts';
import type { Outcome } from '../outcome.ts';
import type { Frame } from '../frame.ts';
import type { Awaitable, BodyFacts, MessageFacts } from '../scope.ts';
import { errorText } from '../../mail/error-text.ts';

type Read = (m: MessageFacts, f: Frame) => string | undefined;

const clean = (read: Read, otherwise = ''): VariableRow => ({
  read: (f) => (f.scope.message === undefined ? otherwise : (read(f.scope.message, f) ?? otherwise)),
});
const wire = (read: Read): VariableRow => ({ ...clean(read), tainted: true });

const sender = (read: Read): VariableRow => ({
  ...clean(read),
  tainted: (f) => f.scope.message?.senderClean !== true,
});

const unreadable = (e: unknown): Outcome<string> => ({
  kind: 'defer',
  reason: `the message cannot be read: ${errorText(e)}`,
});

const body = (
  read: (b: BodyFacts, m: MessageFacts, f: Frame) => string,
  otherwise = '',
): Pick<VariableRow, 'read'> => ({
  read(f) {
    const { message } = f.scope;
    const facts: Awaitable<BodyFacts> | undefined = message?.body?.();
    if (message === undefined || facts === undefined) return otherwise;
    if (!(facts instanceof Promise)) return read(facts, message, f);
    return facts.then((b): Outcome<string> => read(b, message, f), unreadable);
  },
});

/** Zero octets read as spaces, and newlines too unless `message_body_newlines` is on. */
const visible = (text: string, { scope }: Frame): string =>
  text.replace(scope.main.messageBodyNewlines === true ? /\0/g : /[\n\0]/g, ' ');

function headerLines(m: MessageFacts): number {
  return (m.headers?.() ?? []).reduce((n, h) => n + h.raw.split('\n').length - 1, 0);
}

const seconds = (ms: number): string => String(Math.floor(ms / 1000));
const list = (addresses: readonly Address[]): string => addresses.map(formatAddress).join(', ');

export const messageVariables: Readonly<Record<string, VariableRow>> = {
  message_exim_id: clean((m) => m.id),
  message_id: clean((m) => m.id),
  message_size: clean((m) => String(m.size >= 0 ? m.size : m.declaredSize), '0'),
  message_age: clean((m) => (m.receivedAtMs === 0 ? '0' : seconds(Date.now() - m.receivedAtMs)), '0'),
  received_time: clean((m) => seconds(m.receivedAtMs), '0'),
  sender_address: sender((m) => formatAddress(m.sender)),
  sender_address_data: wire((m) => m.senderAddressData),
  sender_address_local_part: sender((m) => m.sender?.local),
  sender_address_domain: sender((m) => m.sender?.domain),
  // Known while an address is routed or delivered.
  return_path: sender((m, f) => {
    const { address } = f.scope;
    if (address === undefined) return '';
    return formatAddress(address.returnPath === undefined ? m.sender : address.returnPath);
  }),
  recipients: wire((m) => list(m.recipients)),
  recipients_count: clean((m) => String(m.recipients.length), '0'),
  rcpt_count: clean((m) => String(m.rcptCount), '0'),
  received_for: wire((m) => (m.recipients.length === 1 ? list(m.recipients) : '')),
  received_count: clean(
    (m) => m.headers && String(m.headers().filter((h) => h.name.toLowerCase() === 'received').length),
    '0',
  ),
  message_body: { ...body((b, _, f) => visible(b.start, f)), tainted: true },
  message_body_end: { ...body((b, _, f) => visible(b.end, f)), tainted: true },
  message_body_size: body((b) => String(b.octets), '0'),
  body_linecount: body((b) => String(b.lines), '0'),
  body_zerocount: body((b) => String(b.zeroOctets), '0'),
  max_received_linelength: body((b) => String(b.longestLine), '0'),
  message_linecount: body((b, m) => String(b.lines + headerLines(m) + (b.blankLine ? 1 : 0)), '0'),
  message_headers: wire((_, f) => allHeaders(f.scope, true)),
  message_headers_raw: wire((_, f) => allHeaders(f.scope, false)),
  reply_address: wire((_, f) => {
    const reply = headerText('r', 'reply-to', f.scope).trim();
    return reply === '' ? headerText('r', 'from', f.scope).trim() : reply;
  }),
};
