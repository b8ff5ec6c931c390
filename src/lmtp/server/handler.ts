/** What an LMTP server does with a dialogue (RFC 2033): replies after the data belong to recipients by position. */
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { ReversePath } from '../../mail/address.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import type { Reply } from '../../mail/reply.ts';

export interface LmtpClientFacts {
  /** Absent for a UNIX socket. */
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  /** The LHLO argument. */
  lhlo: string;
  /** Unique name of the session, as Dovecot puts into its replies and log. */
  readonly sessionId: string;
}

export interface LmtpTransaction {
  /** Asked for each RCPT in order; the reply goes to the client as it stands. */
  rcpt(recipient: Recipient): Promise<Reply>;
  /**
   * The content is complete; `accepted` are the positions (counting from 0 over all RCPT commands) that got a 2xx.
   * Answers with one reply per accepted recipient, in that order. Rejecting answers 451 to all.
   */
  deliver(
    content: MessageSource,
    accepted: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly Reply[]>;
  /** The transaction ended, however it ended. Always the last call. */
  end(): void;
}

export interface LmtpHandler {
  /** MAIL was given. A reply refuses it. */
  begin(
    client: LmtpClientFacts,
    sender: ReversePath,
    params: Omit<Envelope, 'sender' | 'recipients'>,
  ): Promise<LmtpTransaction | { readonly refused: Reply }>;
}
