import { assertNever } from './assert-never.ts';
import { type Reply, replySummary } from './reply.ts';

/** Why a dialogue with a peer stopped short. Replies that came before it keep their meaning. */
export type DialogueFault =
  /** The peer closed the connection, or the command at the other end of a pipe ended. */
  | { readonly kind: 'closed' }
  /** Nothing came, or nothing could be written, for the time allowed. */
  | { readonly kind: 'timeout'; readonly timeoutMs: number }
  /** What came is not a reply of RFC 5321 §4.2, or exceeds our bounds; `text` is a printable part of it. */
  | { readonly kind: 'malformed'; readonly text: string }
  /** A reply that nobody asked for, or one that came before the command was complete. */
  | { readonly kind: 'unsolicited'; readonly text: string }
  /** 421: the peer said it is going away (RFC 5321 §3.8). */
  | { readonly kind: 'shutdown'; readonly reply: Reply }
  /** The socket failed; `text` is the system's message (`Connection reset by peer`). */
  | { readonly kind: 'io'; readonly text: string }
  /** We could not read the message we were sending: not the peer's doing. */
  | { readonly kind: 'source'; readonly text: string }
  | { readonly kind: 'aborted' };

/** The fault in a few words, for people. */
export function faultSummary(fault: DialogueFault): string {
  switch (fault.kind) {
    case 'closed':
      return 'the peer closed the connection';
    case 'timeout':
      return `no answer within ${fault.timeoutMs / 1000} s`;
    case 'malformed':
    case 'unsolicited':
      return `the peer sent something that is no reply to the command: ${fault.text}`;
    case 'shutdown':
      return replySummary(fault.reply);
    case 'io':
    case 'source':
      return fault.text;
    case 'aborted':
      return 'stopped';
    default:
      return assertNever(fault);
  }
}
