/** What an SMTP server does with a dialogue: one async method per verb, each giving the reply (DESIGN §4). */
import type { ReversePath } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { Reply } from '../../mail/reply.ts';
import type { MailParams } from '../../protocol/grammar.ts';

export interface ClientFacts {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** A reply, and whether the session closes the connection after sending it (the ACL verb `drop`, too many errors). */
export interface Verdict {
  readonly reply: Reply;
  readonly close?: boolean;
}

export interface HeloCommand {
  readonly verb: 'HELO' | 'EHLO';
  readonly argument: string;
}

export interface MailCommand {
  readonly sender: ReversePath;
  readonly params: MailParams;
}

/** The answer to the final dot. */
export interface ContentVerdict extends Verdict {
  /** One for each RCPT that was accepted, in their order: for a client that asked for PRDR. */
  readonly recipients?: readonly Reply[];
}

/** Takes the content of one message while it arrives. */
export interface MessageSink {
  /** The next part: dot-unstuffed, lines ending in CRLF. A returned promise is waited for before more is read. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** All of it has come. The reply is the answer to the final dot. */
  end(): Promise<ContentVerdict>;
  /**
   * The client went away, sent something malformed or too much: nothing may be kept. `tooBig`: it was more than
   * `maxMessageOctets`, which no {@link ProtocolIncident} tells.
   */
  abort(reason: string, tooBig?: boolean): Promise<void>;
}

/**
 * One object per connection. Methods are called one at a time and in protocol order; `session` has already checked
 * syntax, sequence and limits, so `mail` is only called without a transaction under way, `rcpt` only inside one, and so on.
 */
export interface SessionHandler {
  /** Read whenever it matters, so that it may change while the connection lasts (Exim: `control = no_enforce_sync`). */
  readonly policy?: SessionPolicy;
  /** The connection came; a refusal closes it. The reply is the 220 banner. */
  connect(): Promise<Verdict>;
  /** The reply must be 250 or a refusal; the session adds its own extension lines to a positive EHLO reply. */
  helo(command: HeloCommand): Promise<Verdict>;
  /** What a MAIL or RCPT line is to be read as; for clients that do not write addresses (Exim: rewriting rules with the flag S). */
  rewriteLine?(line: string): Promise<string>;
  mail(command: MailCommand): Promise<Verdict>;
  /**
   * @param following what the client has sent already behind this RCPT. Read when called.
   */
  rcpt(recipient: Recipient, following: () => Following): Promise<Verdict>;
  /** DATA was given with at least one accepted recipient; a sink means 354 is sent and the content follows. */
  data(): Promise<MessageSink | Verdict>;
  /** The transaction was given up; not called after `end` or `abort` of a sink. */
  reset(why: ResetReason): void;
  /**
   * A command line has come, whatever becomes of it: its verb in capitals, or an empty text where it has none; `more`: the
   * next one is here already.
   */
  command?(verb: string, more: boolean): void;
  vrfy(argument: string): Promise<Verdict>;
  /** QUIT was given; the reply's text is what the client gets with 221. Without this method it is the usual one. */
  quit?(): Promise<Verdict>;
  /**
   * The session ends without QUIT, and not by a verdict's `close`: the text that the client gets with the code of the last
   * reply; undefined for the usual one (Exim: `acl_smtp_notquit`). Absent where nobody wants to know.
   */
  notQuit?(reason: NotQuitReason): Promise<string | undefined>;
  /** Something worth a log line: a syntax error, a limit, a lost connection. */
  protocolError(what: ProtocolIncident): void;
  /** Always the last call. */
  closed(how: SessionEnd): void;
}

/** Commands that have come already. */
export interface Following {
  /** RCPTs: they are asked for later, unless the transaction ends before. */
  readonly recipients: readonly Recipient[];
  /** Behind them comes DATA. */
  readonly data: boolean;
}

/** What a handler may change for its own connection; absent values leave what {@link SessionOptions} says. */
export interface SessionPolicy {
  readonly enforceSync?: boolean | undefined;
  /** False: PIPELINING is not offered, and a client must wait for each reply. */
  readonly pipelining?: boolean | undefined;
  /** The name in replies, in place of {@link SessionOptions.hostname} (Exim: `smtp_active_hostname`). */
  readonly hostname?: string | undefined;
  /** False: MAIL needs no HELO before it (Exim: `hosts_require_helo`). */
  readonly requireHelo?: boolean | undefined;
  /** Any argument of HELO and EHLO is taken (Exim: `helo_accept_junk_hosts`). */
  readonly acceptJunkHelo?: boolean | undefined;
  /** Addresses without a domain are taken in MAIL and RCPT; their domain is then empty. */
  readonly unqualifiedSender?: boolean | undefined;
  readonly unqualifiedRecipient?: boolean | undefined;
  /** False: `maxNonMailCommands` does not hold. */
  readonly limitNonMail?: boolean | undefined;
}

export type ResetReason = 'RSET' | 'HELO' | 'EHLO' | 'QUIT' | 'connection lost' | 'closed';

/** How a session ended: by QUIT, by the client going away, by waiting too long for it, or by our closing. */
export type SessionEnd = 'QUIT' | 'lost' | 'timeout' | 'dropped';

/** Exim's `$smtp_notquit_reason`; `acl-drop` is known to the handler alone. */
export type NotQuitReason =
  | 'acl-drop'
  | 'bad-commands'
  | 'command-timeout'
  | 'connection-lost'
  | 'data-timeout'
  | 'signal-exit'
  | 'synchronization-error';

export type ProtocolIncident =
  /** A command that cannot be read, and one that does not belong where it came. */
  | { readonly kind: 'syntax' | 'protocol'; readonly command: string; readonly reason: string }
  /** Input came where the client had to wait; the session is closed. */
  | { readonly kind: 'synchronization'; readonly command: string; readonly reason: string }
  /** A bound was met; `closing` where it ends the session. */
  | { readonly kind: 'limit'; readonly reason: string; readonly closing: boolean }
  /** The size that MAIL declares is beyond the bound. */
  | { readonly kind: 'size'; readonly sender: ReversePath; readonly declared: number; readonly max: number }
  | { readonly kind: 'timeout' | 'lost'; readonly during: 'command' | 'data' };

/** Bounds of one session; every wait and every buffer has one. */
export interface SessionLimits {
  /** Longest command line with CRLF, octets (RFC 5321 §4.5.3.1.4 asks at least 512; extensions add). */
  readonly maxCommandOctets: number;
  /** Longest line of message content, octets; 0 for none (Exim: `message_linelength_limit` is checked in ACLs, so large by default). */
  readonly maxDataLineOctets: number;
  /** Exim: `message_size_limit`; 0 for none. */
  readonly maxMessageOctets: number;
  /** Exim: `recipients_max`; 0 for none. */
  readonly maxRecipients: number;
  /** Exim: `smtp_max_synprot_errors` and `smtp_max_unknown_commands`. */
  readonly maxSyntaxErrors: number;
  readonly maxUnknownCommands: number;
  /** Exim: `smtp_receive_timeout`. */
  readonly idleTimeoutMs: number;
  /** Exim: `smtp_accept_max_nonmail`: commands that carry no mail, before the connection is dropped; 0 or absent for none. */
  readonly maxNonMailCommands?: number;
}

/** Which extensions EHLO offers; PIPELINING, SIZE, 8BITMIME and ENHANCEDSTATUSCODES are always there. */
export interface SessionOptions {
  readonly hostname: string;
  readonly limits: SessionLimits;
  /** Exim: `smtp_enforce_sync`: drop a client that does not wait for a reply where it must. Default true. */
  readonly enforceSync?: boolean;
  /** Offer DSN (Exim: `dsn_advertise_hosts`). Default false: its parameters are then refused. */
  readonly dsn?: boolean;
  /** Offer PRDR (Exim: `prdr_enable`). Default false. */
  readonly prdr?: boolean;
  /** Offer SMTPUTF8 (Exim: `smtputf8_advertise_hosts`). Default false. */
  readonly smtputf8?: boolean;
  /** Exim: `allow_domain_literals`: recipients and senders at `[192.0.2.1]`. Default false. */
  readonly allowDomainLiterals?: boolean;
  /** Exim: `strip_excess_angle_brackets`. Default false. */
  readonly stripExcessBrackets?: boolean;
  /** Exim: `strip_trailing_dot`. Default false. */
  readonly stripTrailingDot?: boolean;
  /** Addresses without a domain, whoever sends them; see {@link SessionPolicy} for some clients. Default false. */
  readonly allowUnqualified?: boolean;
  /** Exim: `recipients_max_reject`: a message with too many recipients is refused as a whole. Default false. */
  readonly rejectTooMany?: boolean;
  /** Exim: `helo_allow_chars`. */
  readonly heloAllowChars?: string;
  /** A handler's method threw or rejected: the client was told 451, the cause goes to the log. */
  onError?(error: unknown): void;
}

export type HandlerFactory = (client: ClientFacts) => SessionHandler;
