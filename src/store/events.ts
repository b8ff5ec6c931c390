/** What the store tells of each delivery, and the log line that Dovecot's lmtp writes for it. */

export interface DeliveryEvent {
  readonly kind: 'delivery';
  /** The client's address, or `local` for a UNIX socket. */
  readonly client: string;
  /** Session id with transaction and recipient, `ID:T2:R3`. */
  readonly session: string;
  readonly user: string;
  readonly recipient: string;
  /** With its angle brackets; absent where the message has none. */
  readonly messageId?: string;
  readonly folder: string;
  readonly sizeBytes: number;
  readonly outcome:
    | { readonly kind: 'saved' }
    | { readonly kind: 'failed'; readonly temporary: boolean; readonly reason: string };
}

/** A recipient that could not be looked up; the client was told 451. */
export interface LookupFailedEvent {
  readonly kind: 'lookup-failed';
  readonly client: string;
  readonly session: string;
  readonly recipient: string;
  readonly reason: string;
}

export type StoreEvent = DeliveryEvent | LookupFailedEvent;

/** The line without time, as Dovecot has it: `lmtp(user)<pid><session>: Info: msgid=<id>: saved mail to INBOX`. */
export function formatStoreEvent(event: StoreEvent, pid: number): string {
  if (event.kind === 'lookup-failed') {
    return `lmtp(${pid})<${event.session}>: Error: ${clean(event.recipient)}: user lookup failed: ${clean(event.reason)}`;
  }
  const what =
    event.outcome.kind === 'saved'
      ? `saved mail to ${clean(event.folder)}`
      : `save failed to ${clean(event.folder)}: ${clean(event.outcome.reason)}`;
  return `lmtp(${clean(event.user)})<${pid}><${event.session}>: Info: msgid=${clean(event.messageId ?? 'unspecified')}: ${what}`;
}

function clean(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, '?');
}
