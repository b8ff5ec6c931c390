/** What an LMTP server does with a dialogue (RFC 2033): replies after the data belong to recipients by position. */
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { ReversePath } from '../../mail/address.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import type { Reply } from '../../mail/reply.ts';

/** Who speaks to us. */
export interface LmtpClientFacts {
  /** Absent for a UNIX socket. */
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  /** The LHLO argument. */
  lhlo: string;
  /** Unique name of the session, as Dovecot puts into its replies and log. */
  readonly sessionId: string;
}

/** One message, from MAIL to its end. */
export interface LmtpTransaction {
  /**
   * Asked for each RCPT in order, the next when this one is answered. The reply goes to the client as it stands: 2xx
   * accepts, 4xx asks to try again, 5xx refuses. Rejecting answers 451.
   */
  rcpt(recipient: Recipient): Promise<Reply>;
  /**
   * The content is complete; `accepted` are the positions (counting from 0 over all RCPT commands) that got a 2xx.
   * Answers with one reply per accepted recipient, in that order; say 2xx only of what is on disk. Rejecting, or another
   * number of replies, answers 451 to those without one.
   * @param content can be read until {@link LmtpTransaction.end}
   * @param signal aborted when the server closes and its time of grace is over
   */
  deliver(
    content: MessageSource,
    accepted: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly Reply[]>;
  /** The transaction ended, however it ended. Always the last call. */
  end(): void;
}

/** What a server is made of; one handler serves all sessions at once. */
export interface LmtpHandler {
  /**
   * MAIL was given. A reply refuses it; rejecting answers 451.
   * @param sender null for `<>`, the sender of bounces
   * @param params what MAIL said beside the sender
   */
  begin(
    client: LmtpClientFacts,
    sender: ReversePath,
    params: Omit<Envelope, 'sender' | 'recipients'>,
  ): Promise<LmtpTransaction | { readonly refused: Reply }>;
}
