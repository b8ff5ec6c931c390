/** A recipient of which a bounce tells. */
import type { Address } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';

export interface FailedRecipient {
  readonly address: Address;
  /** As the sender gave it, where `address` came of rerouting. */
  readonly original?: Address;
  /** A file or command, which `address` was redirected to. */
  readonly target?: string;
  /** Only the original is told (`hide_child_in_errmsg`). */
  readonly hidden?: true;
  /** ORCPT of RFC 3461 in wire form: `rfc822;user@example.test`. */
  readonly orcpt?: string;
  readonly status: Status;
  /** A temporary error that outlasted its retry times. */
  readonly timedOut: boolean;
}

/** Lines stay below the 998 octets of RFC 5322 §2.1.1 with some room for what stands before. */
const longest = 900;

/** Keeps to the printable characters of US-ASCII and a bounded length, so that no text of a peer or a client makes a line of ours. */
export function printable(text: string): string {
  return text.slice(0, longest).replace(/[^ -~]/g, '?');
}
