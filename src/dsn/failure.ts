/** A recipient of which a bounce tells. */
import type { Address } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';

export interface FailedRecipient {
  readonly address: Address;
  /** As the sender gave it, where `address` came of rerouting. */
  readonly original?: Address;
  /** ORCPT of RFC 3461 in wire form: `rfc822;user@example.test`. */
  readonly orcpt?: string;
  readonly status: Status;
  /** A temporary error that outlasted its retry times. */
  readonly timedOut: boolean;
}

/** Keeps to the printable characters of US-ASCII, so that no text of a peer or a client makes a line of ours. */
export function printable(text: string): string {
  return text.replace(/[^ -~]/g, '?');
}
