/** A message that has come whole and that no ACL refused: handed over while its sender waits, or spooled (RFC 5321 §4.2.5). */
import type { AclControls } from '../../acl/control.ts';
import { errorText } from '../../mail/error-text.ts';
import { MailError } from '../../mail/mail-error.ts';
import { type Reply, reply } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import type { DirectMessage, DirectResult, DirectTerms } from '../../queue/direct.ts';
import { freezeNotices } from '../../queue/freeze-tell.ts';
import type { Claim, Hold, SpoolWriter } from '../../spool/spool.ts';
import type { ContentVerdict, Verdict } from '../../smtp/server/handler.ts';
import type { EarlyHandOver } from './early-hand-over.ts';
import { judgeHandOver, recipientReply } from './hand-over.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';

/** A message with recipients, as the end of its content left it. */
export interface WholeMessage {
  readonly message: DirectMessage;
  /** Of the content as it came. */
  readonly octets: number;
  /** The line of the main log. */
  readonly arrived: string;
  /** What the sender hears when all is well. */
  readonly accepted: Reply;
  /** By any ACL. */
  readonly freeze: AclControls['freeze'];
  /** Not delivered now: frozen, or for a queue run. */
  readonly hold: boolean;
}

/** Nobody took it over; the sender is told so. The content is still the writer's. */
export interface NotTaken {
  readonly refused: ContentVerdict;
  readonly reason: string;
  readonly temporary: boolean;
}

/** What could not be handed over and is spooled therefore. */
interface HandedInPart {
  readonly direct: DirectResult;
  readonly verdict: ContentVerdict;
}

/** How it is handed over; undefined where it is not. */
export function termsOf({ direct, accepted, held }: Incoming): DirectTerms | undefined {
  if (direct === undefined) return undefined;
  const told = accepted !== undefined;
  const { defer } = direct;
  return held === undefined ? { told, defer } : { told, defer, held };
}

/**
 * @param terms how it is handed over, unless it is held; undefined where it is not
 * @param early what of it is on its way already
 */
export async function takeOver(
  parts: EdgeParts,
  incoming: Incoming,
  writer: SpoolWriter,
  whole: WholeMessage,
  terms: DirectTerms | undefined,
  early: EarlyHandOver | undefined,
): Promise<ContentVerdict | NotTaken> {
  if (terms === undefined || whole.hold) return spool(parts, incoming, writer, whole);
  const handed = await handOver(parts, incoming, writer, whole, terms, early);
  return 'direct' in handed ? spool(parts, incoming, writer, whole, handed) : handed;
}

async function handOver(
  parts: EdgeParts,
  incoming: Incoming,
  writer: SpoolWriter,
  { message, accepted, octets, arrived }: WholeMessage,
  terms: DirectTerms,
  early: EarlyHandOver | undefined,
): Promise<ContentVerdict | NotTaken | HandedInPart> {
  let direct: DirectResult;
  try {
    const written = await writer.content();
    direct = await (early?.end(written.source) ?? parts.direct(message, written, terms));
  } catch (error) {
    return notStored(error);
  }
  const { answers } = direct;
  const verdict = forEach(incoming, accepted, (i) =>
    recipientReply(answers[i] ?? { kind: 'untried' }, terms.defer),
  );
  const handed = judgeHandOver(direct, message.envelope.recipients, terms.defer, terms.told);
  switch (handed.kind) {
    case 'refused':
      return {
        refused: { ...verdict, reply: handed.reply },
        reason: handed.reason,
        temporary: handed.reply.code < 500,
      };
    case 'done':
      // The servers have it, whatever becomes of what was kept for a spool.
      await writer.abort().catch((error: unknown) => {
        parts.logs.panic(`${message.id} its content is not removed: ${logText(errorText(error))}`);
      });
      direct.tell(octets, () => parts.logs.main(arrived));
      return verdict;
    case 'spool':
      return { direct, verdict };
  }
}

async function spool(
  parts: EdgeParts,
  incoming: Incoming,
  writer: SpoolWriter,
  { message, accepted, arrived, freeze, hold }: WholeMessage,
  handed?: HandedInPart,
): Promise<ContentVerdict | NotTaken> {
  const { logs, queue } = parts;
  const nowMs = Date.now();
  const soon = handed !== undefined || queue.hasRoom() ? parts.leaseMs : 0;
  const { id, ...submission } = message;
  let claim: Claim | undefined;
  try {
    const until = hold ? holdOf(parts, message, freeze, nowMs) : soon;
    claim = await writer.commit(submission, until, nowMs, handed?.direct.states);
  } catch (error) {
    handed?.direct.tellStored();
    return notStored(error);
  }
  logs.main(arrived);
  if (hold && freeze === undefined && incoming.load !== undefined && parts.logItems.has('delay_delivery'))
    logs.main(`${id} no immediate delivery: load average ${incoming.load.toFixed(2)}`);
  if (handed !== undefined && claim !== undefined) {
    try {
      await handed.direct.record(claim);
    } catch (error) {
      // It is safe in the spool, and the queue finds out once more what could not be written down.
      logs.panic(`${id} outcomes are not recorded: ${logText(errorText(error))}`);
    }
    queue.wake();
  } else if (claim !== undefined) queue.deliverNow(claim);
  else if (!hold) queue.wake();
  return handed?.verdict ?? forEach(incoming, accepted, () => accepted);
}

/** Adds what a sender hears of each recipient, by the position it has; one who asked for nothing of the kind gets the one reply. */
function forEach(
  { accepted, recipients }: Incoming,
  last: Reply,
  replyOf: (position: number) => Reply,
): ContentVerdict {
  if (accepted === undefined) return { reply: last };
  // Rewriting keeps the positions.
  const positions = new Map(recipients.map((r, i) => [r, i]));
  const replies = accepted.map((r) => {
    const position = r === undefined ? undefined : positions.get(r);
    return position === undefined ? last : replyOf(position);
  });
  return { reply: last, recipients: replies };
}

/** Frozen, or due at the next queue run. */
function holdOf(
  parts: EdgeParts,
  message: DirectMessage,
  freeze: AclControls['freeze'],
  nowMs: number,
): Hold {
  const nextAttemptAtMs = nowMs + parts.queueIntervalMs;
  if (freeze === undefined) return { nextAttemptAtMs };
  const generated = freeze.tell
    ? freezeNotices(parts.freezeTell, message, undefined, () => undefined, nowMs)
    : [];
  return { nextAttemptAtMs, frozenAtMs: nowMs, ...(generated.length === 0 ? {} : { generated }) };
}

function notStored(error: unknown): NotTaken {
  const reason = errorText(error);
  if (error instanceof MailError && error.code === 'NO_SPACE')
    return {
      refused: { reply: reply(452, '4.3.1', 'space shortage, please try later') },
      reason: `space shortage: ${reason}`,
      temporary: true,
    };
  return { refused: localProblem, reason: `cannot store the message: ${reason}`, temporary: true };
}

export const localProblem: Verdict = {
  reply: reply(451, '4.3.0', 'Temporary local problem - please try later'),
};
