/** What the proxy tells of each recipient, and the log lines that Dovecot's lmtp proxy writes. */
import { assertNever } from '../../mail/assert-never.ts';

interface About {
  /** The client's address with its port, or `local` for a UNIX socket. */
  readonly client: string;
  /** Session id with transaction and recipient. */
  readonly session: string;
  readonly recipient: string;
  /** The backend. */
  readonly host: string;
  readonly port: number;
}

export interface HandedOnEvent extends About {
  readonly kind: 'handed-on';
  /** The address given to the backend. */
  readonly sentTo: string;
  /** `sent`: the backend has taken the message; `lost`: nobody knows. */
  readonly outcome: 'sent' | 'refused' | 'lost';
  /** Its reply, or what went wrong. */
  readonly answer: string;
  /** Which of the accepted recipients of the transaction, from 1, and how many there are. */
  readonly ordinal: number;
  readonly total: number;
  /** Since the backend was first asked, milliseconds. */
  readonly tookMs: number;
}

/** A RCPT that was not handed on, or had no answer. */
export interface ProxyRefusedEvent extends About {
  readonly kind: 'proxy-refused';
  readonly reason: string;
}

export type ProxyEvent = HandedOnEvent | ProxyRefusedEvent;

/** The line without time. */
export function formatProxyEvent(e: ProxyEvent, pid: number): string {
  const where = e.host.includes(':') ? `[${e.host}]:${e.port}` : `${e.host}:${e.port}`;
  const about = `conn ${e.client}: rcpt ${clean(e.recipient)}: <${clean(e.session)}>:`;
  switch (e.kind) {
    case 'handed-on': {
      const what = e.outcome === 'sent' ? 'Sent message' : 'Failed to send message';
      const level = e.outcome === 'lost' ? 'Error' : 'Info';
      const count = `(${e.ordinal}/${e.total} at ${e.tookMs} ms)`;
      return `lmtp(${pid}): ${level}: lmtp-server: ${about} ${what} to <${clean(e.sentTo)}> at ${where}: ${clean(e.answer)} ${count}`;
    }
    case 'proxy-refused':
      return `lmtp(${pid}): Error: lmtp-server: ${about} Proxying to ${where} ${clean(e.reason)}`;
    default:
      return assertNever(e);
  }
}

function clean(text: string): string {
  return text.slice(0, 500).replace(/[\x00-\x1f\x7f]/g, '?');
}
