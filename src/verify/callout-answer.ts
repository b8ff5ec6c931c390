/** What a callout asks, and what is told of the answers (Exim manual, "Callout verification"). */
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import { isPermanent, isPositive, type Reply } from '../mail/reply.ts';
import type { CalloutTarget } from '../transport/transport.ts';

export interface CalloutQuestion {
  readonly target: CalloutTarget;
  readonly sender: ReversePath;
  readonly address: Address;
  /** For `MAIL SIZE=`. */
  readonly sizeOctets?: number;
  readonly connectTimeoutMs: number;
  /** Longest wait for each reply. */
  readonly commandTimeoutMs: number;
  /** Limit of the whole question over all hosts; no further host is tried, and no answer waited for, after it. */
  readonly maxWaitMs: number;
  /** Asks in a transaction that stays open for a message; undefined where there can be none, and the question is as any. */
  readonly hold?: (endpoint: Endpoint) => Promise<RcptAnswer> | undefined;
}

/** What was being waited for: Exim calls all but `rcpt` a rejection of "mail". */
export type CalloutStage = 'connect' | 'mail' | 'rcpt';

export type CalloutAnswer =
  | { readonly kind: 'accepted'; readonly peer: Endpoint; readonly reply: Reply }
  /** 5xx. `connect` is the banner or the HELO command, `after` says which. */
  | {
      readonly kind: 'refused';
      readonly stage: CalloutStage;
      readonly peer: Endpoint;
      readonly after: string;
      readonly reply: Reply;
    }
  /** Neither yes nor no. */
  | {
      readonly kind: 'unclear';
      readonly stage: CalloutStage;
      readonly peer: Endpoint;
      readonly after: string;
      readonly reply?: Reply;
      readonly fault?: DialogueFault;
    };

export function commandOf({ sender, address }: CalloutQuestion, stage: 'mail' | 'rcpt'): string {
  return stage === 'mail' ? `MAIL FROM:<${formatAddress(sender)}>` : `RCPT TO:<${formatAddress(address)}>`;
}

/** What a reply means that is not the end of the session. */
export function replied(
  question: CalloutQuestion,
  peer: Endpoint,
  stage: 'mail' | 'rcpt',
  reply: Reply,
): CalloutAnswer {
  if (isPositive(reply)) return { kind: 'accepted', peer, reply };
  const after = commandOf(question, stage);
  if (isPermanent(reply)) return { kind: 'refused', stage, peer, after, reply };
  return unclear(peer, stage, after, reply, undefined);
}

export function unclear(
  peer: Endpoint,
  stage: CalloutStage,
  after: string,
  reply: Reply | undefined,
  fault: DialogueFault | undefined,
): CalloutAnswer {
  return {
    kind: 'unclear',
    stage,
    peer,
    after,
    ...(reply === undefined ? {} : { reply }),
    ...(fault === undefined ? {} : { fault }),
  };
}
