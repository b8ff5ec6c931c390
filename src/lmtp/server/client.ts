/** What a session knows of its client, and how XCLIENT and TLS change it. */
import type { TlsFacts } from '../../net/tls-accept.ts';
import type { LmtpClientFacts, LmtpForwarded } from './handler.ts';

/** Where the client is; both empty and 0 for a UNIX socket. */
export interface LmtpPeer {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** The client as it is now. */
export interface ClientState {
  /** Of the connection itself. */
  readonly peer: LmtpPeer;
  /** This server's name for the session. */
  readonly ownId: string;
  remoteAddress: string;
  remotePort: number;
  sessionId: string;
  lhlo: string;
  /** LHLO was said. */
  greeted: boolean;
  tls: TlsFacts | undefined;
  forwarded: LmtpForwarded | undefined;
}

export function newClient(peer: LmtpPeer, ownId: string, tls: TlsFacts | undefined): ClientState {
  const { remoteAddress, remotePort } = peer;
  return {
    peer,
    ownId,
    remoteAddress,
    remotePort,
    sessionId: ownId,
    lhlo: '',
    greeted: false,
    tls,
    forwarded: undefined,
  };
}

/** After STARTTLS: what was said in the clear is forgotten (RFC 3207 §4.2). */
export function secured(c: ClientState, tls: TlsFacts): void {
  c.remoteAddress = c.peer.remoteAddress;
  c.remotePort = c.peer.remotePort;
  c.sessionId = c.ownId;
  c.lhlo = '';
  c.greeted = false;
  c.tls = tls;
  c.forwarded = undefined;
}

/**
 * For the handler.
 * @param transaction counts from 1
 * @param smtputf8 whether MAIL said SMTPUTF8
 */
export function factsOf(c: ClientState, transaction: number, smtputf8: boolean): LmtpClientFacts {
  const utf8 = smtputf8 ? ('UTF8LMTP' as const) : undefined;
  const protocol = c.tls === undefined ? utf8 : utf8 === undefined ? 'LMTPS' : 'UTF8LMTPS';
  return {
    ...(c.remoteAddress === '' ? {} : { remoteAddress: c.remoteAddress, remotePort: c.remotePort }),
    lhlo: c.lhlo,
    // Dovecot's names: the session's for its first transaction, then with `:T2` and so on.
    sessionId: transaction === 1 ? c.sessionId : `${c.sessionId}:T${transaction}`,
    ...(protocol === undefined ? {} : { protocol }),
    ...(c.tls === undefined ? {} : { tls: c.tls }),
    ...(c.forwarded === undefined ? {} : { forwarded: c.forwarded }),
  };
}

const label = '[A-Za-z0-9_-]+';
const name = new RegExp(
  `^(?:${label}(?:\\.${label})*|\\[(?:\\d{1,3}(?:\\.\\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]+)\\])$`,
  'i',
);

/** The name in an argument of LHLO or a HELO of XCLIENT: its first word, if it is a domain or an address literal; else empty. */
export function heloName(argument: string): string {
  const space = argument.indexOf(' ');
  const word = space < 0 ? argument : argument.slice(0, space);
  return word.length <= 255 && name.test(word) ? word : '';
}
