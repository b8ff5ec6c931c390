/** What a sender is told whose message was handed over while it waited (Exim manual, "cutthrough_delivery"; PRDR). */
import { formatPath } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { Status } from '../../mail/outcome.ts';
import { formatReply, type Reply, reply, replyFromText } from '../../mail/reply.ts';
import type { DirectAnswer, DirectResult } from '../../queue/direct.ts';

export type HandOver =
  /** Everybody has it, or was refused to a sender who hears of each: nothing goes to the spool. */
  | { readonly kind: 'done' }
  /** Nobody has it, and nobody shall be tried later. */
  | { readonly kind: 'refused'; readonly reply: Reply; readonly reason: string }
  /** The others go to the spool. */
  | { readonly kind: 'spool' };

/**
 * @param defer what becomes of recipients that were put off
 * @param each the sender hears of each recipient (PRDR)
 */
export function judgeHandOver(
  { answers }: DirectResult,
  recipients: readonly Recipient[],
  defer: 'spool' | 'pass',
  each: boolean,
): HandOver {
  const has = (kind: DirectAnswer['kind']): boolean => answers.some((a) => a.kind === kind);
  if (has('untried') || (defer === 'spool' && has('deferred'))) return { kind: 'spool' };
  if (!has('failed') && !has('deferred')) return { kind: 'done' };
  if (!answers.some((a) => a.kind === 'stored' && a.elsewhere !== true)) return refusal(answers, recipients);
  return each ? { kind: 'done' } : { kind: 'spool' };
}

/** One reply for a message that nobody took: temporary where anybody may take it later. */
function refusal(answers: readonly DirectAnswer[], recipients: readonly Recipient[]): HandOver {
  const temporary = answers.some((a) => a.kind === 'deferred');
  const told = answers.flatMap((answer, i) => {
    const recipient = recipients[i];
    const wanted = answer.kind === (temporary ? 'deferred' : 'failed');
    return wanted && 'status' in answer && recipient !== undefined ? [{ recipient, answer }] : [];
  });
  const words = new Set(told.map(({ answer }) => formatReply(wordsOf(answer.status, temporary))));
  const [first] = told;
  const one = first === undefined ? localProblem : wordsOf(first.answer.status, temporary);
  const reason = first === undefined ? 'no server took the message' : first.answer.status.text;
  if (words.size <= 1) return { kind: 'refused', reply: one, reason };
  const lines = told.map(
    ({ recipient, answer }) =>
      `${formatPath(recipient.address)} ${wordsOf(answer.status, temporary).lines.join(' ')}`,
  );
  return {
    kind: 'refused',
    reply: replyFromText(temporary ? 451 : 550, undefined, lines.slice(0, maxLines).join('\n')),
    reason,
  };
}

const maxLines = 50;
const localProblem: Reply = reply(451, '4.3.0', 'Temporary local problem - please try later');

/** The server's own words; of our own troubles only that there are some. */
function wordsOf({ reply: said, text }: Status, temporary: boolean): Reply {
  const digit = temporary ? 4 : 5;
  if (said !== undefined && Math.floor(said.code / 100) === digit) return said;
  return temporary ? localProblem : replyFromText(550, undefined, text);
}

/** PRDR: what the sender hears of one recipient. */
export function recipientReply(answer: DirectAnswer, defer: 'spool' | 'pass'): Reply {
  switch (answer.kind) {
    case 'failed':
      return wordsOf(answer.status, false);
    case 'deferred':
      return defer === 'pass' ? wordsOf(answer.status, true) : accepted;
    case 'stored':
    case 'untried':
      return accepted;
  }
}

const accepted: Reply = reply(250, '2.1.5', 'Accepted');
