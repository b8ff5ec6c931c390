/**
 * Asks a server whether it would take mail for some recipients, and takes the transaction back: what Exim calls a
 * callout (Exim manual, "Callout verification"). With PIPELINING all of it is one flight. Sans-IO.
 */
import { type Address, formatPath, type ReversePath } from '../mail/address.ts';
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import { isPositive, type Reply } from '../mail/reply.ts';
import type { Capabilities } from './capabilities.ts';
import { mailLine } from './envelope-commands.ts';
import { commandLine, type Dialogue } from './flight.ts';

export type InquiryAnswer =
  /** The server's word on this recipient: a refused MAIL is every recipient's answer. */
  | { readonly kind: 'reply'; readonly stage: 'mail' | 'rcpt'; readonly reply: Reply }
  | { readonly kind: 'unanswered'; readonly stage: 'mail' | 'rcpt'; readonly fault: DialogueFault };

export interface InquiryResult {
  /** One per recipient, in order. */
  readonly answers: readonly InquiryAnswer[];
  /** What the connection is good for; `reset-sent` when the answer to RSET has been read. */
  readonly end: 'open' | 'reset-sent' | 'broken';
  /** The connection ended before a reply to MAIL. */
  readonly silent: boolean;
}

export interface InquiryOptions {
  /** Longest wait for each reply. */
  readonly timeoutMs: number;
  /** The size that the message will have, for MAIL's SIZE=: a server with quotas may answer by it. */
  readonly sizeOctets: number | undefined;
}

export function* inquiryDialogue(
  capabilities: Capabilities,
  sender: ReversePath,
  recipients: readonly Address[],
  { timeoutMs, sizeOctets }: InquiryOptions,
): Dialogue<InquiryResult> {
  const mailCommand = mailLine({ sender }, capabilities, sizeOctets);
  const answers: InquiryAnswer[] = [];
  if (capabilities.pipelining) {
    let commands = mailCommand;
    for (const address of recipients) commands += rcptCommand(address);
    const expect = recipients.length + 1;
    const { replies, fault } = yield {
      commands: `${commands}RSET\r\n`,
      expect,
      allow: expect + 1,
      timeoutMs,
    };
    const mail = replies[0];
    recipients.forEach((_, i) => answers.push(answerTo(mail, replies[i + 1], fault)));
    return { answers, end: fault === undefined ? 'reset-sent' : 'broken', silent: silent(mail, fault) };
  }
  const { replies, fault } = yield { commands: mailCommand, expect: 1, timeoutMs };
  const mail = replies[0];
  let broken = fault;
  for (const address of recipients) {
    if (mail === undefined || !isPositive(mail) || broken !== undefined)
      answers.push(answerTo(mail, undefined, broken));
    else {
      const answer = yield { commands: rcptCommand(address), expect: 1, timeoutMs };
      answers.push(answerTo(mail, answer.replies[0], answer.fault));
      broken = answer.fault;
    }
  }
  return { answers, end: broken === undefined ? 'open' : 'broken', silent: silent(mail, fault) };
}

function rcptCommand(address: Address): string {
  return commandLine(`RCPT TO:${formatPath(address)}`);
}

function answerTo(
  mail: Reply | undefined,
  rcpt: Reply | undefined,
  fault: DialogueFault | undefined,
): InquiryAnswer {
  if (mail === undefined) return { kind: 'unanswered', stage: 'mail', fault: fault ?? { kind: 'closed' } };
  if (!isPositive(mail)) return { kind: 'reply', stage: 'mail', reply: mail };
  if (rcpt === undefined) return { kind: 'unanswered', stage: 'rcpt', fault: fault ?? { kind: 'closed' } };
  return { kind: 'reply', stage: 'rcpt', reply: rcpt };
}

function silent(mail: Reply | undefined, fault: DialogueFault | undefined): boolean {
  if (mail !== undefined) return mail.code === 421;
  return (
    fault !== undefined && fault.kind !== 'timeout' && fault.kind !== 'malformed' && fault.kind !== 'aborted'
  );
}
