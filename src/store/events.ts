/** What the store tells of each delivery, and the log lines that Dovecot's lmtp writes for it. */
import { assertNever } from '../mail/assert-never.ts';

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
  /** The folder that was wanted, where it could not be had and the INBOX was taken. */
  readonly failedFolder?: { readonly folder: string; readonly reason: string };
  readonly sizeBytes: number;
  readonly outcome:
    | { readonly kind: 'saved' }
    /** Accepted and thrown away, as a filter wanted it. */
    | { readonly kind: 'discarded' }
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

/** A user who can take no message now, told at RCPT already. */
export interface RefusedAtRcptEvent {
  readonly kind: 'refused-at-rcpt';
  readonly client: string;
  readonly session: string;
  readonly user: string;
  readonly recipient: string;
  readonly reason: string;
  /** `Error` where that is the administrator's to mend. */
  readonly level: 'Info' | 'Error';
}

export type StoreEvent = DeliveryEvent | LookupFailedEvent | RefusedAtRcptEvent;

/** The lines without time, as Dovecot has them: `lmtp(user)<pid><session>: Info: msgid=<id>: saved mail to INBOX`. */
export function formatStoreEvent(event: StoreEvent, pid: number): readonly [string, ...string[]] {
  if (event.kind === 'lookup-failed') {
    return [
      `lmtp(${pid})<${event.session}>: Error: ${clean(event.recipient)}: user lookup failed: ${clean(event.reason)}`,
    ];
  }
  const who = `lmtp(${clean(event.user)})<${pid}><${event.session}>:`;
  if (event.kind === 'refused-at-rcpt')
    return [`${who} ${event.level}: refused at RCPT: ${clean(event.recipient)}: ${clean(event.reason)}`];
  const about = `${who} Info: msgid=${clean(event.messageId ?? 'unspecified')}: `;
  const last = about + outcomeText(event);
  if (event.failedFolder === undefined) return [last];
  const { folder, reason } = event.failedFolder;
  return [`${about}save failed to open mailbox ${folderText(folder)}: ${clean(reason)}`, last];
}

function outcomeText({ outcome, folder }: DeliveryEvent): string {
  switch (outcome.kind) {
    case 'saved':
      return `saved mail to ${folderText(folder)}`;
    case 'discarded':
      return 'discarded';
    case 'failed':
      return `save failed to ${folderText(folder)}: ${clean(outcome.reason)}`;
    default:
      return assertNever(outcome);
  }
}

/** Dovecot shows 80 octets of a folder's name. */
function folderText(folder: string): string {
  return clean(folder.length > 80 ? `${folder.slice(0, 77)}...` : folder);
}

function clean(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, '?');
}
