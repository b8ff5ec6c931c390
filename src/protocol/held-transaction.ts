/**
 * A transaction that follows another one as it comes in: MAIL and the first RCPT, more RCPTs one at a time, the content
 * when it is there. What a proxy does, where `transaction.ts` has everything at the beginning. LMTP. Sans-IO.
 */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { MessageSource } from '../mail/message-source.ts';
import { isPositive, type Reply } from '../mail/reply.ts';
import type { Capabilities } from './capabilities.ts';
import { contentStream, stuffedStream } from './content-stream.ts';
import { dataParts } from './dot-stuff.ts';
import { mailLine, missingExtension, type RequiredExtension, rcptLine } from './envelope-commands.ts';
import { commandLine, type Dialogue, type FlightBody, type FlightResult } from './flight.ts';
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

export interface HeldOpening {
  readonly capabilities: Capabilities;
  readonly helo: string;
  readonly client: ForwardedClient;
  /** What became of it earlier on this connection. */
  readonly xclient: XclientState;
  readonly envelope: Omit<Envelope, 'recipients'>;
  /** For each reply. */
  readonly timeoutMs: number;
}

/** XCLIENT and LHLO where offered, MAIL, and the first RCPT. */
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
  const extension = missingExtension(o.envelope, capabilities);
  if (extension !== undefined) return done({ kind: 'unsupported', extension });
  const mailCommand = mailLine(o.envelope, capabilities, o.envelope.declaredSize);
  const rcptCommand = heldRcptLine(first, capabilities);
  if (capabilities.pipelining) {
    const both = yield { commands: mailCommand + rcptCommand, expect: 2, timeoutMs };
    const [mail, rcpt] = both.replies;
    if (mail === undefined) return done(unanswered('mail', both.fault));
    if (!isPositive(mail)) return done(answerOf('mail', { ...both, replies: [mail] }));
    return done(answerOf('rcpt', { ...both, replies: rcpt === undefined ? [] : [rcpt] }));
  }
  const mail = yield { commands: mailCommand, expect: 1, timeoutMs };
  const reply = mail.replies[0];
  if (reply === undefined || mail.fault !== undefined || !isPositive(reply))
    return done(answerOf('mail', mail));
  return done(yield* rcptDialogue(first, capabilities, timeoutMs));
}

/** One more RCPT of a transaction whose MAIL was taken. */
export function* rcptDialogue(
  recipient: Recipient,
  c: Capabilities,
  timeoutMs: number,
): Dialogue<HeldAnswer> {
  return answerOf('rcpt', yield { commands: heldRcptLine(recipient, c), expect: 1, timeoutMs });
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
      const answer = answerOf('data', data, 400);
      return Array.from({ length: accepted }, () => answer);
    }
  }
  const body = bodyOf(h);
  const { replies, fault } = yield { commands, body, expect: accepted, timeoutMs, blockTimeoutMs: timeoutMs };
  return Array.from({ length: accepted }, (_, i): HeldAnswer => {
    const reply = replies[i];
    return reply === undefined ? unanswered('content', fault) : answerOf('content', { replies: [reply] });
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

function heldRcptLine(recipient: Recipient, c: Capabilities): string {
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
  { replies, fault }: FlightResult,
  least = 200,
): HeldAnswer {
  const reply = replies[0];
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
