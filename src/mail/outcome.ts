import type { EnhancedStatus, Reply } from './reply.ts';

/** Why a recipient failed or was put off: what the log, the retry hints and a bounce say. */
export interface Status {
  /** For a person, on one line; for a refusal by a peer, the command and the reply as Exim words it. */
  readonly text: string;
  /** RFC 3463 status; absent where nothing better than x.0.0 is known. */
  readonly code?: EnhancedStatus;
  /** The peer's reply, where a peer decided. */
  readonly reply?: Reply;
  /** The peer, in the log's form `name [address]:port` or a socket's path. */
  readonly peer?: string;
}

/** What became of one recipient of a batch. */
export type RecipientOutcome =
  | {
      readonly kind: 'delivered';
      /** The peer's reply, for `C="..."` in the log. */
      readonly reply?: Reply;
      /** Name and address of the host, for `H=name [address]`; absent for a local delivery and a UNIX socket. */
      readonly host?: { readonly name: string; readonly address: string; readonly port: number };
    }
  | { readonly kind: 'failed'; readonly status: Status }
  | {
      readonly kind: 'deferred';
      readonly status: Status;
      /** What the fault belongs to: the host (connection refused), this address (4xx to RCPT), or the message (4xx after the data). */
      readonly scope: 'host' | 'address' | 'message';
    };
