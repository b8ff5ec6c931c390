import type { Address } from '../../mail/address.ts';
import type { Reply } from '../../mail/reply.ts';
import type { DialogueLink, Next } from '../../protocol/dialogue.ts';
import type { Grammar } from '../../protocol/grammar.ts';
import type { Receiver } from '../../protocol/receiver.ts';
import type { TlsFacts } from '../../net/tls-accept.ts';
import type { ClientState } from './client.ts';
import type { ContentBuffer } from './content-buffer.ts';
import type { LmtpHandler, LmtpTransaction } from './handler.ts';
import type { LmtpIncident, LmtpLimits, LmtpServerOptions } from './options.ts';
import { formatBounded, one } from './wording.ts';

/** All that one LMTP session remembers between commands. */
export interface SessionState {
  readonly handler: LmtpHandler;
  readonly options: LmtpServerOptions;
  readonly limits: LmtpLimits;
  readonly link: DialogueLink;
  readonly receiver: Receiver;
  readonly grammar: Grammar;
  /** Aborted when the server gives up what is under way. */
  readonly signal: AbortSignal;
  readonly client: ClientState;
  /** Whether the host may speak for others. */
  readonly trusted: boolean;
  /** Goes on over TLS, or says why not; undefined where STARTTLS is not offered. */
  readonly startTls: (() => Promise<TlsFacts | string>) | undefined;
  transactions: number;
  transaction: Transaction | undefined;
  badCommands: number;
  /** Why it ends, once it does. */
  endReason: string;
  /** What the content now being read is for; undefined between messages. */
  reading: Reading | undefined;
}

export interface Transaction {
  readonly logic: LmtpTransaction;
  /** One per RCPT command, accepted or not: positions are the handler's names for recipients. */
  recipients: number;
  readonly accepted: number[];
  readonly acceptedAddresses: Address[];
  content: ContentBuffer | undefined;
  /** A BDAT of this transaction failed: only RSET helps. */
  chunkFailed: boolean;
}

export type Reading =
  | {
      readonly kind: 'message';
      readonly how: 'data' | 'chunk' | 'last-chunk';
      readonly octets: number;
      failure: Reply | undefined;
    }
  /** The octets of a BDAT that was refused already; the reply follows them. */
  | { readonly kind: 'refused-chunk'; readonly reply: Reply };

/** The first line of a session, and the answer to XCLIENT. */
export function greeting(s: SessionState): Reply {
  return one(220, undefined, `${s.options.hostname} ${s.options.greeting ?? 'Mailchute ready.'}`);
}

/** Queues a reply. */
export function say(s: SessionState, reply: Reply): Next {
  s.badCommands = 0;
  s.link.write(formatBounded(reply));
  return 'command';
}

/** A command that was refused; too many in a row with 500, 501 or 503 end the session, as in Dovecot. */
export function sayBad(s: SessionState, command: string, reply: Reply): Next {
  report(s, { kind: 'bad-command', client: s.client.remoteAddress, command, reply: reply.lines[0] });
  const bad = reply.code === 500 || reply.code === 501 || reply.code === 503 ? s.badCommands + 1 : 0;
  if (bad <= s.limits.maxBadCommands) {
    say(s, reply);
    s.badCommands = bad;
    return 'command';
  }
  const reason = 'Too many invalid commands.';
  say(s, one(421, '4.7.0', `${s.options.hostname} ${reason}`));
  s.endReason = reason;
  return 'close';
}

export function report(s: SessionState, incident: LmtpIncident): void {
  s.options.onIncident?.(incident);
}

/** Where the session is, by Dovecot's names. */
export function stateName({ transaction: t, reading, client }: SessionState): string {
  if (t === undefined) return client.greeted ? 'READY' : 'GREETING';
  if (reading !== undefined || t.content !== undefined) return 'DATA';
  return t.recipients === 0 ? 'MAIL FROM' : 'RCPT TO';
}

/** The transaction is over, however it went. */
export function endTransaction(s: SessionState): void {
  const transaction = s.transaction;
  s.transaction = undefined;
  s.reading = undefined;
  if (transaction === undefined) return;
  transaction.content?.discard();
  transaction.logic.end();
}
