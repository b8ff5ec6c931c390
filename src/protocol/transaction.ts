/**
 * One mail transaction of a client, SMTP or LMTP, in as few flights as the server's extensions allow (RFC 2920,
 * RFC 3030, RFC 2033). Replies belong to recipients by position: the i-th reply to RCPT to the i-th recipient and, in
 * LMTP, the replies after the data to the accepted recipients in order. Sans-IO.
 */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Envelope } from '../mail/envelope.ts';
import { longestPartMs, type MessageSource } from '../mail/message-source.ts';
import { isPositive, type Reply } from '../mail/reply.ts';
import type { Capabilities } from './capabilities.ts';
import { contentStream, stuffedStream } from './content-stream.ts';
import { dataParts } from './dot-stuff.ts';
import { mailLine, missingExtension, type RequiredExtension, rcptLine } from './envelope-commands.ts';
import type { Dialogue, Flight, FlightResult } from './flight.ts';
import type { ClientProtocol } from './opening.ts';

/** Where in a transaction something was said or went wrong; `content` is after the final dot or BDAT LAST. */
export type TransactionStage = 'mail' | 'rcpt' | 'data' | 'content';

export type RecipientResult =
  /** 2xx after the content, for this recipient: the server has taken responsibility. */
  | { readonly kind: 'accepted'; readonly reply: Reply }
  /** Any other reply than the one that goes on; 5xx is final, all others (3xx included) are worth another attempt. */
  | { readonly kind: 'refused'; readonly stage: TransactionStage; readonly reply: Reply }
  /** The dialogue ended before this recipient's fate was told. `recipient` is the position after whose RCPT it did. */
  | {
      readonly kind: 'unanswered';
      readonly stage: TransactionStage;
      readonly recipient: number;
      readonly fault: DialogueFault;
    }
  /** Not sent, since the server does not offer what the message needs. */
  | { readonly kind: 'unsupported'; readonly extension: RequiredExtension };

export interface TransactionResult {
  /** One per recipient, in order. */
  readonly recipients: readonly RecipientResult[];
  /** What the connection is good for: the next transaction, that after RSET, or nothing. */
  readonly end: 'clean' | 'open' | 'broken';
  /** True where the connection ended before a reply to MAIL: nothing was accepted as far as anybody knows, so another may be tried. */
  readonly silent: boolean;
  /** True where commands went in one flight, which Exim's log wording tells. */
  readonly pipelined: boolean;
  /** The dialogue was aborted when the content had been answered for some: theirs is known. */
  readonly told?: true;
}

export interface TransactionTimeouts {
  /** MAIL, RCPT and DATA, each reply. */
  readonly commandMs: number;
  /** Each block of content to be taken. */
  readonly dataMs: number;
  /** Each reply after the content. */
  readonly finalMs: number;
}

export interface TransactionInput {
  readonly protocol: ClientProtocol;
  readonly capabilities: Capabilities;
  readonly envelope: Envelope;
  readonly content: MessageSource;
  readonly timeouts: TransactionTimeouts;
  /** Added to the content's size for SIZE= (Exim: `size_addition`); negative to leave SIZE= out. */
  readonly sizeAddition: number;
  readonly ignoreQuota: boolean;
  /** Content up to this size goes in the first flight where the server has CHUNKING: more would be wasted if all RCPTs fail. */
  readonly firstFlightOctets: number;
}

export function* transactionDialogue(t: TransactionInput): Dialogue<TransactionResult> {
  const missing = missingExtension(t.envelope, t.capabilities);
  if (missing !== undefined) {
    const recipients = t.envelope.recipients.map(
      (): RecipientResult => ({ kind: 'unsupported', extension: missing }),
    );
    return { recipients, end: 'clean', silent: false, pipelined: false };
  }
  const run = new Run(t);
  if (t.envelope.recipients.length === 0) return run.result('clean');
  return yield* t.capabilities.pipelining ? pipelined(t, run) : oneByOne(t, run);
}

/**
 * The rest of a transaction in which MAIL and every RCPT were taken before: the content and its replies.
 *
 * @param data the reply to DATA, where that was said too
 */
export function* restDialogue(t: TransactionInput, data: Reply | undefined): Dialogue<TransactionResult> {
  const run = new Run(t);
  run.mail = { code: 250, lines: [''] };
  for (const position of t.envelope.recipients.keys()) run.accepted.push(position);
  return yield* data === undefined ? content(t, run) : afterDataReply(t, run, data, false);
}

/** What is known so far of every recipient. */
class Run {
  readonly #input: TransactionInput;
  readonly #results: (RecipientResult | undefined)[];
  /** Positions whose RCPT got a 2xx. */
  readonly accepted: number[] = [];
  mail: Reply | undefined;
  fault:
    | { readonly stage: TransactionStage; readonly recipient: number; readonly fault: DialogueFault }
    | undefined;

  constructor(input: TransactionInput) {
    this.#input = input;
    this.#results = input.envelope.recipients.map((): undefined => undefined);
  }

  refuse(position: number, stage: TransactionStage, reply: Reply): void {
    this.#results[position] ??= { kind: 'refused', stage, reply };
  }

  refuseAll(stage: TransactionStage, reply: Reply): void {
    for (let i = 0; i < this.#results.length; i++) this.refuse(i, stage, reply);
  }

  rcpt(position: number, reply: Reply): void {
    if (isPositive(reply)) this.accepted.push(position);
    else this.refuse(position, 'rcpt', reply);
  }

  /** The answer to the content for one accepted recipient. */
  content(position: number, reply: Reply): void {
    if (isPositive(reply)) this.#results[position] ??= { kind: 'accepted', reply };
    else this.refuse(position, 'content', reply);
  }

  broke(stage: TransactionStage, recipient: number, fault: DialogueFault): void {
    this.fault ??= { stage, recipient, fault };
  }

  /** A 421 to MAIL is how many servers end an idle connection, perhaps written before they saw the command. */
  #silent(): boolean {
    if (this.mail !== undefined) return this.mail.code === 421;
    const kind = this.fault?.fault.kind;
    return kind === 'closed' || kind === 'io' || kind === 'unsolicited' || kind === 'shutdown';
  }

  result(end: TransactionResult['end']): TransactionResult {
    const fault = this.fault ?? { stage: 'mail' as const, recipient: 0, fault: { kind: 'closed' as const } };
    return {
      recipients: this.#results.map((r): RecipientResult => r ?? { kind: 'unanswered', ...fault }),
      end: this.fault === undefined ? end : 'broken',
      silent: this.#silent(),
      pipelined: this.#input.capabilities.pipelining,
      ...(this.fault?.fault.kind === 'aborted' && this.fault.stage === 'content' && this.#answered()
        ? { told: true }
        : undefined),
    };
  }

  #answered(): boolean {
    return this.#results.some((r) => r !== undefined);
  }
}

function declaredSize(t: TransactionInput): number | undefined {
  // A size that was guessed too high could have a message refused that fits.
  return t.sizeAddition < 0 || t.content.growing === true ? undefined : t.content.size + t.sizeAddition;
}

/** BDAT says first how long the content is. */
function takesChunks({ capabilities, content }: TransactionInput): boolean {
  return capabilities.chunking && content.growing !== true;
}

function* pipelined(t: TransactionInput, run: Run): Dialogue<TransactionResult> {
  const { capabilities: c, content, timeouts } = t;
  const { recipients } = t.envelope;
  let commands = mailLine(t.envelope, c, declaredSize(t));
  for (const r of recipients) commands += rcptLine(r, c, t.ignoreQuota);
  const envelopeReplies = 1 + recipients.length;

  const chunking = takesChunks(t);
  if (chunking && content.bytes !== undefined && content.size <= t.firstFlightOctets) {
    const afterData = t.protocol === 'lmtp' ? recipients.length : 1;
    const first = yield {
      commands: `${commands}BDAT ${content.bytes.length} LAST\r\n`,
      body: [content.bytes],
      expect: envelopeReplies,
      allow: envelopeReplies + afterData,
      // A server may hold all its replies back until the message is stored.
      timeoutMs: Math.max(timeouts.commandMs, timeouts.finalMs),
    };
    readEnvelope(run, recipients.length, first);
    if (run.fault !== undefined) return run.result('broken');
    // Nobody can tell whether a server answers BDAT where it took no recipient, or how often after a refused MAIL. A
    // reply left over would be taken for another recipient's.
    if (run.accepted.length === 0 || run.mail === undefined || !isPositive(run.mail))
      return run.result('broken');
    return contentReplies(t, run, yield contentFlight(t, run, { commands: '' }));
  }

  const withData = !chunking;
  const expect = envelopeReplies + (withData ? 1 : 0);
  const first = yield {
    commands: withData ? `${commands}DATA\r\n` : commands,
    expect,
    timeoutMs: timeouts.commandMs,
  };
  readEnvelope(run, recipients.length, first);
  const dataReply = withData ? first.replies[expect - 1] : undefined;
  if (withData && run.fault === undefined && dataReply === undefined)
    run.broke('data', recipients.length - 1, faultOf(first));
  if (run.fault !== undefined) return run.result('broken');
  const refused = run.accepted.length === 0 || run.mail === undefined || !isPositive(run.mail);
  if (dataReply !== undefined) return yield* afterDataReply(t, run, dataReply, refused);
  if (refused) return run.result('open');
  return yield* sendChunk(t, run);
}

function* oneByOne(t: TransactionInput, run: Run): Dialogue<TransactionResult> {
  const { capabilities: c, timeouts } = t;
  const { recipients } = t.envelope;
  const timeoutMs = timeouts.commandMs;
  const mail = yield { commands: mailLine(t.envelope, c, declaredSize(t)), expect: 1, timeoutMs };
  readMail(run, mail);
  if (run.mail === undefined || !isPositive(run.mail)) return run.result('open');
  for (const [i, recipient] of recipients.entries()) {
    const answer = yield { commands: rcptLine(recipient, c, t.ignoreQuota), expect: 1, timeoutMs };
    const reply = answer.replies[0];
    if (reply !== undefined) run.rcpt(i, reply);
    if (reply === undefined || answer.fault !== undefined) {
      run.broke('rcpt', i, faultOf(answer));
      return run.result('broken');
    }
  }
  if (run.accepted.length === 0) return run.result('open');
  return yield* content(t, run);
}

/** The content behind RCPTs of which some were taken. */
function* content(t: TransactionInput, run: Run): Dialogue<TransactionResult> {
  if (takesChunks(t)) return yield* sendChunk(t, run);
  const data = yield { commands: 'DATA\r\n', expect: 1, timeoutMs: t.timeouts.commandMs };
  const reply = data.replies[0];
  if (reply === undefined) {
    run.broke('data', t.envelope.recipients.length - 1, faultOf(data));
    return run.result('broken');
  }
  return yield* afterDataReply(t, run, reply, false);
}

/** @param refused no recipient or no sender was accepted, so that no content may follow */
function* afterDataReply(
  t: TransactionInput,
  run: Run,
  reply: Reply,
  refused: boolean,
): Dialogue<TransactionResult> {
  if (reply.code !== 354) {
    run.refuseAll('data', reply);
    // Another 2xx or 3xx is nonsense: the server may be waiting for content or not.
    return run.result(reply.code < 400 ? 'broken' : 'open');
  }
  // 354 although nothing was accepted (RFC 2920 §3.1): closing is the surest way to take the transaction back.
  if (refused) return run.result('broken');
  const bytes = t.content.bytes;
  const body = bytes === undefined ? stuffedStream(t.content) : dataParts(bytes);
  return contentReplies(t, run, yield contentFlight(t, run, { commands: '', body }));
}

/** BDAT after the replies to RCPT: for content that is large or not in memory. */
function* sendChunk(t: TransactionInput, run: Run): Dialogue<TransactionResult> {
  const bytes = t.content.bytes;
  const commands = `BDAT ${bytes?.length ?? t.content.size} LAST\r\n`;
  const body = bytes === undefined ? contentStream(t.content) : [bytes];
  return contentReplies(t, run, yield contentFlight(t, run, { commands, body }));
}

function contentFlight(t: TransactionInput, run: Run, what: Pick<Flight, 'commands' | 'body'>): Flight {
  const expect = t.protocol === 'lmtp' ? run.accepted.length : 1;
  const { finalMs, dataMs } = t.timeouts;
  const blockTimeoutMs = t.content.growing === true ? Math.min(dataMs, longestPartMs) : dataMs;
  return { ...what, expect, timeoutMs: finalMs, blockTimeoutMs };
}

function contentReplies(t: TransactionInput, run: Run, answer: FlightResult): TransactionResult {
  const { replies } = answer;
  const last = t.envelope.recipients.length - 1;
  if (t.protocol === 'lmtp') {
    run.accepted.forEach((position, i) => {
      const reply = replies[i];
      if (reply !== undefined) run.content(position, reply);
    });
    if (replies.length < run.accepted.length) run.broke('content', last, faultOf(answer));
  } else {
    const reply = replies[0];
    if (reply === undefined) run.broke('content', last, faultOf(answer));
    else for (const position of run.accepted) run.content(position, reply);
  }
  return run.result('clean');
}

function readMail(run: Run, answer: FlightResult): void {
  const mail = answer.replies[0];
  run.mail = mail;
  if (mail === undefined) run.broke('mail', 0, faultOf(answer));
  else if (!isPositive(mail)) run.refuseAll('mail', mail);
}

/** The replies to MAIL and RCPTs sent together. */
function readEnvelope(run: Run, recipients: number, answer: FlightResult): void {
  readMail(run, answer);
  if (run.mail === undefined) return;
  for (let i = 0; i < recipients; i++) {
    const reply = answer.replies[1 + i];
    if (reply === undefined) {
      run.broke('rcpt', i, faultOf(answer));
      return;
    }
    run.rcpt(i, reply);
  }
}

function faultOf(answer: FlightResult): DialogueFault {
  return answer.fault ?? { kind: 'closed' };
}
