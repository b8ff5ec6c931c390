import type { ListenOptions } from '../../net/listen.ts';
import type { TlsIdentity } from '../../net/tls-context.ts';

/** Bounds of one LMTP session. */
export interface LmtpLimits {
  /** Longest command line with CRLF, octets. Default 8192, as in Dovecot. */
  readonly maxCommandOctets: number;
  /** Longest line of content, octets; 0, the default, for none. */
  readonly maxDataLineOctets: number;
  /** Largest message, octets; 0, the default, for none. Where there is a bound, LHLO offers SIZE. */
  readonly maxMessageOctets: number;
  /** RCPTs in one transaction. Default 10000. */
  readonly maxRecipients: number;
  /** Bad commands in a row before the connection is closed. Default 10, as in Dovecot. */
  readonly maxBadCommands: number;
  /** Most time without input from the client, milliseconds. Default 300000. */
  readonly idleTimeoutMs: number;
  /** Content up to this many octets stays in memory, what is larger goes to a temporary file. Default 131072. */
  readonly maxMemoryOctets: number;
}

export const defaultLimits: LmtpLimits = {
  maxCommandOctets: 8192,
  maxDataLineOctets: 0,
  maxMessageOctets: 0,
  maxRecipients: 10_000,
  maxBadCommands: 10,
  idleTimeoutMs: 300_000,
  maxMemoryOctets: 128 * 1024,
};

/** Something worth a log line. `client` is the address, or empty for a UNIX socket. */
export type LmtpIncident =
  | {
      readonly kind: 'bad-command';
      readonly client: string;
      readonly command: string;
      readonly reply: string;
    }
  | { readonly kind: 'refused-message'; readonly client: string; readonly reason: string }
  | { readonly kind: 'timeout' | 'lost'; readonly client: string; readonly during: 'command' | 'content' }
  /** STARTTLS, or the handshake of a connection that begins with one, came to nothing; the connection was closed. */
  | { readonly kind: 'tls'; readonly client: string; readonly reason: string }
  /** A handler or the temporary storage failed; the client was told 451 or 452. */
  | { readonly kind: 'fault'; readonly client: string; readonly error: unknown };

/** How a session ended, in words for a log, and where it was then (Dovecot's names: `GREETING`, `READY`, `MAIL FROM`, `RCPT TO`, `DATA`). */
export interface LmtpSessionEnd {
  /** The address, the one that XCLIENT gave where it did; empty for a UNIX socket. */
  readonly client: string;
  readonly reason: string;
  readonly state: string;
}

/** TLS of one listener. */
export interface LmtpTlsOptions extends TlsIdentity {
  /** The handshake comes first, before any greeting (Exim: `tls_on_connect_ports`). Default false: offer STARTTLS. */
  readonly onConnect?: boolean;
  /** Most time for the handshake, milliseconds. Default 30000. */
  readonly handshakeTimeoutMs?: number;
}

/** One listener. */
export interface LmtpListenOptions extends ListenOptions {
  readonly tls?: LmtpTlsOptions;
  /**
   * Whether the host may use XCLIENT and XRCPTFORWARD (Dovecot: `login_trusted_networks`); the address is empty for a UNIX
   * socket. Asked once a connection. Default nobody.
   */
  readonly trusts?: (address: string) => boolean | Promise<boolean>;
}

/** What a server says of itself, and the bounds of its sessions. */
export interface LmtpServerOptions {
  /** Our name in the greeting and in LHLO's answer. */
  readonly hostname: string;
  /** The rest of the 220 line. Default `Mailchute ready.` */
  readonly greeting?: string;
  readonly limits?: Partial<LmtpLimits>;
  /** Folder for messages too large for memory; must exist. Default: the system's. */
  readonly temporaryDirectory?: string;
  /**
   * Take and offer DSN's parameters (RFC 3461); `unoffered` takes them from a client that sends them all the same.
   * Default false; ORCPT is always taken, as in Dovecot. Who offers DSN owes the sender the success reports.
   */
  readonly dsn?: boolean | 'unoffered';
  /** Take and offer SMTPUTF8 (RFC 6531). Default false: octets above 127 in a command are refused, as in Dovecot. */
  readonly smtputf8?: boolean;
  /**
   * Take and offer XTRANSFER, Mailchute's own: MAIL names the message, RCPT the recipient, and the handler answers a repeat of
   * what it has stored without storing it again. Default false.
   */
  readonly transfers?: boolean;
  onIncident?(incident: LmtpIncident): void;
  /** A session begins. @param client its address; empty for a UNIX socket */
  onConnect?(client: string): void;
  /** It has ended, by whatever. */
  onDisconnect?(end: LmtpSessionEnd): void;
}

/**
 * Most octets of one reply with all its lines: Exim's lmtp transport keeps a whole reply in 256 and calls longer ones
 * malformed.
 */
export const maxReplyOctets = 240;
