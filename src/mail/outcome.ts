import type { Recipient } from './envelope.ts';
import type { QueueId } from './message-id.ts';
import type { EnhancedStatus, Reply } from './reply.ts';

/** How a host was reached over TCP. */
export interface PeerLink {
  readonly port: number;
  /** Our end. */
  readonly local?: { readonly address: string; readonly port: number };
  /** Commands were sent without waiting for replies. */
  readonly pipelined?: boolean;
}

/** Why a recipient failed or was put off: what the log, the retry hints and a bounce say. */
export interface Status {
  /** For a person, on one line; for a refusal by a peer, the command and the reply as Exim words it. */
  readonly text: string;
  /** RFC 3463 status; absent where nothing better than x.0.0 is known. */
  readonly code?: EnhancedStatus;
  /** The peer's reply, where a peer decided. */
  readonly reply?: Reply;
  /** The peer, in the log's form `name [address]` or a socket's path. */
  readonly peer?: string;
  /** The connection to it, for the log. */
  readonly link?: PeerLink;
  /** What a command wrote that is to be told to the sender; octets, bounded by the transport. */
  readonly output?: string;
}

/** A message made here; its sender is `<>`. */
export interface NewMessage {
  readonly id: QueueId;
  readonly recipients: readonly [Recipient, ...Recipient[]];
  /** Header, blank line and body, every line ended by CRLF. */
  readonly content: Uint8Array;
  readonly body: '7BIT' | '8BITMIME';
}

/** What became of one recipient of a batch. */
export type RecipientOutcome =
  | {
      readonly kind: 'delivered';
      /** The peer's reply, for `C="..."` in the log. */
      readonly reply?: Reply;
      /** Name and address of the host, for `H=name [address]`; absent for a local delivery and a UNIX socket. */
      readonly host?: { readonly name: string; readonly address: string; readonly port: number };
      readonly link?: PeerLink;
      /** Messages that the delivery made: they are stored in the same step as the outcome. */
      readonly generated?: readonly NewMessage[];
    }
  | { readonly kind: 'failed'; readonly status: Status }
  | {
      readonly kind: 'deferred';
      readonly status: Status;
      /** What the fault belongs to: the host (connection refused), this address (4xx to RCPT), or the message (4xx after the data). */
      readonly scope: 'host' | 'address' | 'message';
      /** The message is to be frozen. */
      readonly freeze?: boolean;
    };
