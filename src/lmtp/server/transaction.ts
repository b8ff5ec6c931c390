/** MAIL, RCPT, DATA and BDAT of an LMTP session, and the replies after the content: one per accepted recipient. */
import { formatPath, type ReversePath } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import { MailError } from '../../mail/mail-error.ts';
import { isPositive, type Reply } from '../../mail/reply.ts';
import type { ContentFault } from '../../protocol/content-scanner.ts';
import type { Next } from '../../protocol/dialogue.ts';
import type { MailParams } from '../../protocol/grammar.ts';
import { factsOf } from './client.ts';
import { ContentBuffer } from './content-buffer.ts';
import { endTransaction, report, say, sayBad, type SessionState, type Transaction } from './state.ts';
import { one, wordContentFault } from './wording.ts';

export const mailNeeded: Reply = one(503, '5.5.0', 'MAIL needed first');
export const mailGiven: Reply = one(503, '5.5.0', 'MAIL already given');
const noValidRecipients: Reply = one(503, '5.5.0', 'No valid recipients');
const notTrusted: Reply = one(
  550,
  '5.7.14',
  'Unacceptable XRCPTFORWARD= parameter: You are not from trusted IP',
);
const chunkFailed: Reply = one(503, '5.5.0', 'Previous data chunk failed, issue RSET first');

export async function mail(s: SessionState, sender: ReversePath, params: MailParams): Promise<Next> {
  if (s.transaction !== undefined) return sayBad(s, 'MAIL', mailGiven);
  const max = s.limits.maxMessageOctets;
  if (max > 0 && params.declaredSize !== undefined && params.declaredSize > max) {
    return say(s, wordContentFault('too-big', s.limits));
  }
  const client = factsOf(s.client, ++s.transactions, params.smtputf8 === true);
  const begun = await s.handler.begin(client, sender, params);
  if ('refused' in begun) return say(s, begun.refused);
  s.transaction = {
    logic: begun,
    recipients: 0,
    accepted: [],
    acceptedAddresses: [],
    content: undefined,
    chunkFailed: false,
  };
  return say(s, one(250, '2.1.0', 'OK'));
}

export async function rcpt(s: SessionState, recipient: Recipient): Promise<Next> {
  const t = s.transaction;
  if (t === undefined) return sayBad(s, 'RCPT', mailNeeded);
  if (recipient.forward !== undefined && !s.trusted) return say(s, notTrusted);
  if (t.recipients >= s.limits.maxRecipients) return say(s, one(451, '4.5.3', 'Too many recipients'));
  const position = t.recipients++;
  const reply = await t.logic.rcpt(recipient);
  if (isPositive(reply)) {
    t.accepted.push(position);
    t.acceptedAddresses.push(recipient.address);
  }
  return say(s, reply);
}

export function data(s: SessionState): Next {
  const t = s.transaction;
  if (t === undefined) return sayBad(s, 'DATA', mailNeeded);
  if (t.chunkFailed) return sayBad(s, 'DATA', chunkFailed);
  if (t.content !== undefined) return sayBad(s, 'DATA', one(503, '5.5.0', 'Bad sequence of commands'));
  if (t.accepted.length === 0) return sayBad(s, 'DATA', noValidRecipients);
  t.content = newContent(s);
  s.reading = { kind: 'message', how: 'data', octets: 0, failure: undefined };
  say(s, one(354, undefined, 'OK'));
  return 'data';
}

/** BDAT (RFC 3030 §2). What cannot be taken is read all the same, and its reply comes after its octets, as in Dovecot. */
export function bdat(s: SessionState, octets: number, last: boolean): Next {
  const t = s.transaction;
  if (t === undefined) return refuseChunk(s, octets, mailNeeded);
  if (t.chunkFailed) return refuseChunk(s, octets, chunkFailed);
  if (t.accepted.length === 0) {
    t.chunkFailed = true;
    return refuseChunk(s, octets, noValidRecipients);
  }
  if (t.content === undefined) {
    t.content = newContent(s);
    s.receiver.beginMessage();
  }
  s.reading = { kind: 'message', how: last ? 'last-chunk' : 'chunk', octets, failure: undefined };
  return { chunkOctets: octets };
}

export function refuseChunk(s: SessionState, octets: number, reply: Reply): Next {
  // The receiver may hold the fault of an earlier message; these octets are judged by no rule.
  s.reading = { kind: 'refused-chunk', reply };
  return { chunkOctets: octets };
}

function newContent(s: SessionState): ContentBuffer {
  return new ContentBuffer(s.limits.maxMemoryOctets, s.options.temporaryDirectory);
}

/** A part of the content. Where storage fails, {@link storageFailed} follows. */
export function content(s: SessionState, chunk: Buffer): void | Promise<void> {
  const reading = s.reading;
  if (reading?.kind !== 'message' || reading.failure !== undefined) return undefined;
  return s.transaction?.content?.write(chunk);
}

/** The content cannot be kept; its end is answered so. */
export function storageFailed(s: SessionState, error: unknown): void {
  const full = error instanceof MailError && error.code === 'NO_SPACE';
  const reply = full
    ? one(452, '4.3.1', 'Insufficient system storage')
    : one(451, '4.3.0', 'Temporary internal error');
  spoil(s, reply);
}

export function contentFault(s: SessionState, fault: ContentFault): void {
  if (s.reading?.kind !== 'message') return;
  const reply = wordContentFault(fault, s.limits);
  report(s, { kind: 'refused-message', client: s.client.remoteAddress, reason: reply.lines[0] });
  spoil(s, reply);
}

function spoil(s: SessionState, reply: Reply): void {
  if (s.reading?.kind !== 'message') return;
  s.reading.failure ??= reply;
  s.transaction?.content?.discard();
}

export async function contentEnd(s: SessionState): Promise<Next> {
  const reading = s.reading;
  s.reading = undefined;
  if (reading?.kind === 'refused-chunk') return sayBad(s, 'BDAT', reading.reply);
  const t = s.transaction;
  if (reading === undefined || t === undefined) return say(s, one(451, '4.3.0', 'Temporary internal error'));
  let failure = reading.failure;
  if (reading.how === 'last-chunk') {
    const fault = s.receiver.endOfChunks();
    if (fault !== undefined) failure ??= wordContentFault(fault, s.limits);
  }
  if (reading.how === 'chunk') {
    if (failure === undefined) return say(s, one(250, '2.0.0', `Added ${reading.octets} octets`));
    t.chunkFailed = true;
    return say(s, failure);
  }
  await sayForEach(s, t, failure);
  endTransaction(s);
  return 'command';
}

/** RFC 2033 §4.2: exactly one reply per accepted RCPT, in their order, whatever the handler makes of them. */
async function sayForEach(s: SessionState, t: Transaction, failure: Reply | undefined): Promise<void> {
  let replies: readonly Reply[] = [];
  if (failure === undefined && t.content !== undefined) {
    try {
      replies = await t.logic.deliver(t.content.source(), t.accepted, s.signal);
      if (replies.length !== t.accepted.length) {
        throw new MailError('PROTOCOL', `${replies.length} outcomes for ${t.accepted.length} recipients`);
      }
    } catch (error) {
      report(s, { kind: 'fault', client: s.client.remoteAddress, error });
    }
  }
  t.acceptedAddresses.forEach((address, i) => {
    say(s, failure ?? replies[i] ?? one(451, '4.3.0', `${formatPath(address)} Temporary internal error`));
  });
}
