/** XCLIENT (Postfix's XCLIENT_README, with Dovecot's attributes SESSION, TTL, TIMEOUT): telling a server for whom we speak. */
import { commandLine } from './flight.ts';

/** Who gave us the message. Only attributes that the server offers are told. */
export interface ForwardedClient {
  /** IP address; absent for a client on this machine's UNIX socket. */
  readonly address?: string;
  readonly port?: number;
  /** The client's LHLO argument. */
  readonly helo?: string;
  /** `LMTP`, or what the client in front of a proxy spoke. */
  readonly protocol?: string;
  readonly login?: string;
  /** Name of the session in logs. */
  readonly session?: string;
  /** Hand-ons that may follow this one. */
  readonly ttl?: number;
  /** How long we shall wait, seconds. */
  readonly timeoutSeconds?: number;
}

/** A value whose encoding is longer is left out, so that the command keeps within 512 octets (RFC 5321 §4.5.3.1.4). */
const maxValueOctets = 160;

/**
 * The command with CRLF, attributes in Dovecot's order; undefined where the server offers none that is known here.
 * @param offered the parameters of XCLIENT in the LHLO reply
 */
export function xclientLine(offered: string, client: ForwardedClient): string | undefined {
  const names = new Set(offered.toUpperCase().split(' '));
  let line = 'XCLIENT';
  const tell = (name: string, value: string | number | undefined): void => {
    if (value === undefined || !names.has(name)) return;
    const text = encodeXtext(String(value));
    if (text !== '' && text.length <= maxValueOctets) line += ` ${name}=${text}`;
  };
  tell('HELO', client.helo);
  tell('PROTO', client.protocol);
  tell('LOGIN', client.login);
  tell('SESSION', client.session);
  tell('TTL', client.ttl);
  tell('TIMEOUT', client.timeoutSeconds);
  tell('PORT', client.port);
  tell('ADDR', client.address?.includes(':') === true ? `IPV6:${client.address}` : client.address);
  return line === 'XCLIENT' ? undefined : commandLine(line);
}

/**
 * Which attributes a server would be told of the client. One that is told nothing of an attribute goes by what it was
 * told before: a connection must serve only clients of one shape.
 */
export function xclientShape(client: ForwardedClient): string {
  const line = xclientLine('HELO PROTO LOGIN SESSION TTL TIMEOUT PORT ADDR', client) ?? '';
  return line.replace(/=\S*/g, '').trim();
}

/** RFC 3461 §4: printable ASCII stays, all other octets and `+` and `=` become `+XX`. */
export function encodeXtext(text: string): string {
  return text.replace(
    /[^!-*,-<>-~]/g,
    (c) => `+${(c.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
