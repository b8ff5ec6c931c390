/** What an LMTP server does with a dialogue (RFC 2033): replies after the data belong to recipients by position. */
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { ReversePath } from '../../mail/address.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import type { Reply } from '../../mail/reply.ts';
import type { TlsFacts } from '../../net/tls-accept.ts';

/** Who speaks to us; where a trusted host speaks for another by XCLIENT, that other. */
export interface LmtpClientFacts {
  /** Absent for a UNIX socket. */
  readonly remoteAddress?: string;
  /** 0 where it is not known. */
  readonly remotePort?: number;
  /** The name in the LHLO argument; empty where it was none, or before LHLO. */
  lhlo: string;
  /** Name of the transaction, as Dovecot puts it into replies and log: the session's, then with `:T2` and so on. */
  readonly sessionId: string;
  /** As a Received field names it (RFC 3848, RFC 6531 §4.3); absent for plain LMTP. */
  readonly protocol?: 'LMTPS' | 'UTF8LMTP' | 'UTF8LMTPS';
  /** Of the connection to us; absent where it is in the clear. */
  readonly tls?: TlsFacts;
  /** What a trusted host told by XCLIENT; absent where none did. */
  readonly forwarded?: LmtpForwarded;
}

/** Attributes of XCLIENT that are not facts of the client itself (Dovecot's, and Postfix's XCLIENT_README). */
export interface LmtpForwarded {
  /** The trusted host's own address; absent for a UNIX socket. */
  readonly fromAddress?: string;
  /** How the client spoke to the trusted host. */
  readonly proto?: 'SMTP' | 'ESMTP' | 'LMTP';
  /** The user name the client logged in with. */
  readonly login?: string;
  /** How many more hosts the transaction may be handed on to. */
  readonly ttl?: number;
  /** How long the trusted host waits for us, seconds. */
  readonly timeoutSeconds?: number;
  /** Where the client had connected to. */
  readonly destName?: string;
  readonly destAddress?: string;
  readonly destPort?: number;
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
