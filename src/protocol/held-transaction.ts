/**
 * A transaction that follows another one as it comes in: MAIL and the first RCPTs, more RCPTs later, the content when it
 * is there. What a proxy does, and direct delivery, where `transaction.ts` has everything at the beginning. Sans-IO.
 */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { MessageSource } from '../mail/message-source.ts';
import { isPositive, type Reply } from '../mail/reply.ts';
import type { Capabilities } from './capabilities.ts';
import { contentStream, stuffedStream } from './content-stream.ts';
import { dataParts } from './dot-stuff.ts';
import { mailLine, missingExtension, type RequiredExtension, rcptLine } from './envelope-commands.ts';
import { commandLine, type Dialogue, type FlightBody } from './flight.ts';
import { helloDialogue } from './opening.ts';
import { type ForwardedClient, xclientLine } from './xclient.ts';

/** The server's word, or why there is none. */
export type HeldAnswer =
  | { readonly kind: 'reply'; readonly stage: 'mail' | 'rcpt' | 'data' | 'content'; readonly reply: Reply }
  | {
      readonly kind: 'unanswered';
      /** `pool`: all connections that may be are in use. */
      readonly stage: 'pool' | 'connect' | 'mail' | 'rcpt' | 'data' | 'content';
      readonly fault: DialogueFault;
    }
  | { readonly kind: 'unsupported'; readonly extension: RequiredExtension };

/** `none`: not asked yet. */
export type XclientState = 'none' | 'taken' | 'refused' | 'stale';

export interface HeldStart {
  /** What the server offers, after XCLIENT perhaps other than before. */
  readonly capabilities: Capabilities;
  /** What became of XCLIENT on this connection. Refused after it was taken before, the facts of an earlier client may stand, and nothing was said after it. */
  readonly xclient: XclientState;
  readonly answer: HeldAnswer;
}

/** RCPTs, and how they are sent. */
export interface HeldRcpts {
  readonly recipients: readonly Recipient[];
  /** With CRLF. */
  readonly line: (recipient: Recipient, c: Capabilities) => string;
  /** DATA behind them in the same flight: no more RCPTs will come. For servers with PIPELINING that get no BDAT. */
  readonly data?: boolean;
  /** For each reply. */
  readonly timeoutMs: number;
}

export interface RcptsAnswered {
  /** One for each recipient, in order: to MAIL where that was not taken. */
  readonly answers: readonly HeldAnswer[];
  /** The reply to DATA, where it was sent. After 354 only the content, or the end of the connection, can follow. */
  readonly data?: Reply;
}

export interface HeldOpening {
  readonly capabilities: Capabilities;
  readonly helo: string;
  readonly client: ForwardedClient;
  /** What became of it earlier on this connection. */
  readonly xclient: XclientState;
  /** With the size to declare. */
  readonly envelope: Omit<Envelope, 'recipients'>;
  /** For each reply. */
  readonly timeoutMs: number;
}

/** For another LMTP server: XCLIENT and LHLO where offered, MAIL, and the first RCPT. */
export function* startDialogue(o: HeldOpening, first: Recipient): Dialogue<HeldStart> {
  const { timeoutMs } = o;
  let { capabilities } = o;
  let state = o.xclient;
  const done = (answer: HeldAnswer): HeldStart => ({ capabilities, xclient: state, answer });
  const offered = capabilities.keywords.get('XCLIENT');
  const xclient = offered === undefined || state === 'refused' ? undefined : xclientLine(offered, o.client);
  if (xclient !== undefined) {
    const { replies, fault } = yield { commands: xclient, expect: 1, timeoutMs };
    if (replies[0] === undefined || fault !== undefined) return done(unanswered('mail', fault));
    // Dovecot goes on after a refusal too: what the server then says of the client is its own choice.
    if (isPositive(replies[0])) {
      state = 'taken';
      const hello = yield* helloDialogue('lmtp', o.helo, timeoutMs);
      if (hello.kind === 'failed') return done(unanswered('mail', hello.fault));
      capabilities = hello.capabilities;
    } else if (state === 'taken') {
      state = 'stale';
      return done({ kind: 'reply', stage: 'mail', reply: replies[0] });
    } else state = 'refused';
  }
  const rcpts = { recipients: [first], line: forwardingRcptLine, timeoutMs };
  const { answers } = yield* mailDialogue(o.envelope, capabilities, rcpts);
  const [answer] = answers;
  return done(answer ?? unanswered('rcpt', undefined));
}

/** MAIL and RCPTs, in one flight where the server has PIPELINING. */
export function* mailDialogue(
  envelope: Omit<Envelope, 'recipients'>,
  c: Capabilities,
  rcpts: HeldRcpts,
): Dialogue<RcptsAnswered> {
  const { recipients, timeoutMs } = rcpts;
  const all = (answer: HeldAnswer): RcptsAnswered => ({ answers: recipients.map(() => answer) });
  const extension = missingExtension(envelope, c);
  if (extension !== undefined) return all({ kind: 'unsupported', extension });
  const mailCommand = mailLine(envelope, c, envelope.declaredSize);
  const commands = c.pipelining ? mailCommand + linesOf(rcpts, c) : mailCommand;
  const expect = c.pipelining ? 1 + repliesTo(rcpts) : 1;
  const { replies, fault } = yield { commands, expect, timeoutMs };
  const [mail, ...others] = replies;
  if (mail === undefined) return all(unanswered('mail', fault));
  if (!isPositive(mail)) return { ...answersOf(rcpts, others, fault), ...all(answerOf('mail', mail, fault)) };
  if (c.pipelining) return answersOf(rcpts, others, fault);
  return fault === undefined ? yield* rcptDialogue(rcpts, c) : all(unanswered('rcpt', fault));
}

/** More RCPTs of a transaction whose MAIL was taken. */
export function* rcptDialogue(rcpts: HeldRcpts, c: Capabilities): Dialogue<RcptsAnswered> {
  const { recipients, line, timeoutMs } = rcpts;
  if (c.pipelining) {
    const { replies, fault } = yield { commands: linesOf(rcpts, c), expect: repliesTo(rcpts), timeoutMs };
    return answersOf(rcpts, replies, fault);
  }
  const replies: Reply[] = [];
  for (const recipient of recipients) {
    const answer = yield { commands: line(recipient, c), expect: 1, timeoutMs };
    replies.push(...answer.replies);
    if (answer.fault !== undefined) return answersOf(rcpts, replies, answer.fault);
  }
  return answersOf(rcpts, replies, undefined);
}

function linesOf({ recipients, line, data }: HeldRcpts, c: Capabilities): string {
  let lines = '';
  for (const recipient of recipients) lines += line(recipient, c);
  return data === true ? `${lines}DATA\r\n` : lines;
}

function repliesTo({ recipients, data }: HeldRcpts): number {
  return data === true ? recipients.length + 1 : recipients.length;
}

function answersOf(
  { recipients }: HeldRcpts,
  replies: readonly Reply[],
  fault: DialogueFault | undefined,
): RcptsAnswered {
  const answers = recipients.map((_, i) => answerOf('rcpt', replies[i], fault));
  const data = replies[recipients.length];
  return data === undefined ? { answers } : { answers, data };
}

export interface HeldContent {
  readonly capabilities: Capabilities;
  /** Header lines put in front of the content, each with its CRLF. */
  readonly prefix: Uint8Array;
  readonly content: MessageSource;
  /** RCPTs that got a 2xx, at least one. */
  readonly accepted: number;
  readonly timeoutMs: number;
}

/** The content and its replies: one answer for each accepted RCPT, in order, whatever the server does. */
export function* contentDialogue(h: HeldContent): Dialogue<readonly HeldAnswer[]> {
  const { timeoutMs, accepted, content, prefix } = h;
  let commands = '';
  if (h.capabilities.chunking) commands = `BDAT ${prefix.length + content.size} LAST\r\n`;
  else {
    const data = yield { commands: 'DATA\r\n', expect: 1, timeoutMs };
    const go = data.replies[0];
    if (data.fault !== undefined || go?.code !== 354) {
      const answer = answerOf('data', go, data.fault, 400);
      return Array.from({ length: accepted }, () => answer);
    }
  }
  const body = bodyOf(h);
  const { replies, fault } = yield { commands, body, expect: accepted, timeoutMs, blockTimeoutMs: timeoutMs };
  return Array.from({ length: accepted }, (_, i): HeldAnswer => {
    const reply = replies[i];
    return answerOf('content', reply, reply === undefined ? fault : undefined);
  });
}

function bodyOf({ capabilities, prefix, content }: HeldContent): FlightBody {
  if (content.bytes !== undefined)
    return capabilities.chunking ? [prefix, content.bytes] : [prefix, ...dataParts(content.bytes)];
  const stream = capabilities.chunking ? contentStream(content) : stuffedStream(content);
  return async function* (signal) {
    yield prefix;
    yield* stream(signal);
  };
}

/** With what a trusted server in front of another tells it beside the address. */
export function forwardingRcptLine(recipient: Recipient, c: Capabilities): string {
  const { orcpt, forward } = recipient;
  let line = rcptLine(recipient, c, false).slice(0, -2);
  // Dovecot's servers take it without offering DSN; other servers might not.
  if (orcpt !== undefined && !c.dsn && c.keywords.has('XCLIENT')) line += ` ORCPT=${orcpt}`;
  if (forward !== undefined && c.keywords.has('XRCPTFORWARD')) line += ` XRCPTFORWARD=${forward}`;
  return commandLine(line);
}

/** 421 decides about nothing, nor does 3xx. @param least codes below are no answer to the command either */
function answerOf(
  stage: 'mail' | 'rcpt' | 'data' | 'content',
  reply: Reply | undefined,
  fault: DialogueFault | undefined,
  least = 200,
): HeldAnswer {
  if (reply === undefined || reply.code === 421) return unanswered(stage, fault);
  if (reply.code < least || (reply.code >= 300 && reply.code < 400))
    return unanswered(stage, { kind: 'malformed', text: `${reply.code} ${reply.lines[0]}` });
  return { kind: 'reply', stage, reply };
}

function unanswered(
  stage: 'mail' | 'rcpt' | 'data' | 'content',
  fault: DialogueFault | undefined,
): HeldAnswer {
  return { kind: 'unanswered', stage, fault: fault ?? { kind: 'closed' } };
}
