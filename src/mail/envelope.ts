import type { Address, ReversePath } from './address.ts';

/** RFC 3461 §4.1: the conditions under which the sender wants a report. Absent means the default (failure, perhaps delay). */
export type DsnNotify = 'never' | readonly ('success' | 'failure' | 'delay')[];

/** One RCPT. The same address may occur twice; recipients are told apart by position, never by address. */
export interface Recipient {
  readonly address: Address;
  /** RCPT NOTIFY= of RFC 3461. */
  readonly notify?: DsnNotify;
  /** RCPT ORCPT= of RFC 3461 in wire form (`rfc822;user@example.test`). */
  readonly orcpt?: string;
  /** RCPT XTRANSFER=: the number of the recipient in the transfer, the same at every attempt. */
  readonly transferNumber?: string;
  /** RCPT XRCPTFORWARD= as a trusted Dovecot proxy gives it: base64 (in xtext) of `name=value` fields parted by tabs. */
  readonly forward?: string;
}

/** The envelope of RFC 5321 §2.3.1 with the parameters of the extensions we offer. */
export interface Envelope {
  readonly sender: ReversePath;
  readonly recipients: readonly Recipient[];
  /** MAIL BODY= of RFC 6152. */
  readonly body?: '7BIT' | '8BITMIME' | 'BINARYMIME';
  /** MAIL SIZE= of RFC 1870, in bytes. */
  readonly declaredSize?: number;
  /** MAIL SMTPUTF8 of RFC 6531. */
  readonly smtputf8?: boolean;
  /** MAIL RET= of RFC 3461. */
  readonly ret?: 'FULL' | 'HDRS';
  /** MAIL ENVID= of RFC 3461, still in xtext. */
  readonly envid?: string;
  /**
   * MAIL XTRANSFER= (Mailchute's own): a name of this message among all that its senders hand over, the same at every attempt.
   * A store that offers XTRANSFER answers a repeat as before and stores nothing a second time.
   */
  readonly transfer?: string;
}

/** How a message came in: what Exim's `$sender_host_address`, `$received_protocol` and the log line `<=` show. */
export interface Reception {
  /** Exim's `$received_protocol`: `smtp`, `esmtp`, `esmtps`, `local`, ... */
  readonly protocol: string;
  /** The HELO or EHLO argument as given; absent for a message made on this machine. */
  readonly helo?: string;
  /** The client's IP address; absent for a message made on this machine. */
  readonly hostAddress?: string;
  readonly hostPort?: number;
  /** The client's verified name; absent where it was not looked up or did not verify. */
  readonly hostName?: string;
  readonly interfaceAddress?: string;
  readonly interfacePort?: number;
  /** Milliseconds since 1970 at which the message began to arrive. */
  readonly receivedAtMs: number;
  /** Octets of the longest line as it came, its end not counted; absent for messages from before it was kept. */
  readonly longestLine?: number;
}
