import { formatReply, reply, replyFromText, type EnhancedStatus, type Reply } from '../../mail/reply.ts';
import type { DialogueLink, Next } from '../../protocol/dialogue.ts';
import type { Grammar } from '../../protocol/grammar.ts';
import type { Receiver } from '../../protocol/receiver.ts';
import type {
  MessageSink,
  NotQuitReason,
  ResetReason,
  SessionEnd,
  SessionHandler,
  SessionOptions,
  Verdict,
} from './handler.ts';

/** All that one SMTP session remembers between commands. */
export interface SessionState {
  readonly handler: SessionHandler;
  readonly options: SessionOptions;
  readonly link: DialogueLink;
  readonly receiver: Receiver;
  grammar: Grammar;
  helo: 'HELO' | 'EHLO' | undefined;
  /** MAIL was accepted and the transaction it began has not ended. */
  inTransaction: boolean;
  /** The last MAIL was refused: RCPTs pipelined behind it are no errors of the client. */
  mailRefused: boolean;
  lastWasRcpt: boolean;
  /** RCPT commands of the transaction, and how many of them were accepted. */
  recipients: number;
  accepted: number;
  /** What every refused RCPT of the transaction was told, while it was the same for all; null once it was not. */
  refusal: string | undefined | null;
  sink: MessageSink | undefined;
  syntaxErrors: number;
  unknownCommands: number;
  /** Counted over the connection; one RSET and one HELO or EHLO are free before each message. */
  nonMailCommands: number;
  freeRset: boolean;
  freeHelo: boolean;
  /** The command line at hand, for incidents. */
  line: string;
  /** How it ended, once it has; until then what is true if it ends now. */
  end: SessionEnd;
}

/** Exim's answer where something broke on our side. */
export const localProblem: Reply = reply(451, '4.3.0', 'Temporary local problem - please try later');

/** Queues a reply. */
export function say(s: SessionState, r: Reply): Next {
  s.link.write(formatReply(r));
  return 'command';
}

/** Queues a one-line reply of the session's own. */
export function sayText(
  s: SessionState,
  code: number,
  status: EnhancedStatus | undefined,
  text: string,
): Next {
  s.link.write(status === undefined ? `${code} ${text}\r\n` : `${code} ${status} ${text}\r\n`);
  return 'command';
}

/** Queues a handler's verdict. */
export function deliverVerdict(s: SessionState, verdict: Verdict): Next {
  s.link.write(formatReply(verdict.reply));
  return verdict.close === true ? 'close' : 'command';
}

/** The last reply of a session that ends without QUIT; the handler may have another text for it. */
export function sayLast(s: SessionState, reason: NotQuitReason, usual: Reply): Next | Promise<Next> {
  const asked = s.handler.notQuit?.(reason);
  const last = (text: string | undefined): Next => {
    say(s, text === undefined ? usual : replyFromText(usual.code, undefined, text));
    return 'close';
  };
  return asked === undefined ? last(undefined) : asked.then(last);
}

/**
 * A syntax or protocol error: answers it, tells the handler, and closes after too many (Exim:
 * `smtp_max_synprot_errors`, with its two-line last reply).
 */
export function protocolError(
  s: SessionState,
  command: string,
  code: number,
  status: EnhancedStatus | undefined,
  text: string,
): Next {
  const line = command === '' ? '' : s.line;
  s.handler.protocolError({ kind: code === 503 ? 'protocol' : 'syntax', command: line, reason: text });
  if (++s.syntaxErrors <= s.options.limits.maxSyntaxErrors) return sayText(s, code, status, text);
  s.handler.protocolError({ kind: 'limit', reason: 'too many syntax or protocol errors', closing: true });
  const lines: Reply['lines'] = [text, 'Too many syntax or protocol errors'];
  say(s, status === undefined ? { code, lines } : { code, status, lines });
  return 'close';
}

/** The transaction is over, with or without a message. */
export function endTransaction(s: SessionState): void {
  s.inTransaction = false;
  s.mailRefused = false;
  s.recipients = s.accepted = 0;
  s.refusal = undefined;
}

/** Gives up a transaction that is under way, telling the handler. */
export function abandonTransaction(s: SessionState, why: ResetReason): void {
  if (s.inTransaction) s.handler.reset(why);
  endTransaction(s);
}

/** Whether a client that does not wait where it must is sent away. */
export function enforcesSync(s: SessionState): boolean {
  return s.handler.policy?.enforceSync ?? s.options.enforceSync !== false;
}

/** The name that replies give. */
export function hostnameOf(s: SessionState): string {
  return s.handler.policy?.hostname ?? s.options.hostname;
}

export function offersPipelining(s: SessionState): boolean {
  return s.handler.policy?.pipelining !== false;
}
