/**
 * XCLIENT: a trusted host says for whom it speaks (Postfix's XCLIENT_README, with the attributes of Dovecot 2.3:
 * SESSION, TTL, TIMEOUT; DESTNAME, DESTADDR and DESTPORT are those of later versions). Worded as Dovecot words it.
 */
import { isIP } from 'node:net';
import type { Next } from '../../protocol/dialogue.ts';
import { heloName, type ClientState } from './client.ts';
import type { LmtpForwarded } from './handler.ts';
import { greeting, say, sayBad, type SessionState } from './state.ts';
import { parameterFault } from './dovecot-syntax.ts';
import { one } from './wording.ts';

/** What LHLO says of it. */
export const xclientOffer = 'XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT';
/** Attributes that Dovecot 2.3 does not know; offered where the reply has room for them. */
export const xclientMore = ' DESTNAME DESTADDR DESTPORT';

export function xclient(s: SessionState, argument: string): Next {
  if (s.transaction !== undefined)
    return sayBad(s, 'XCLIENT', one(503, '5.5.0', 'XCLIENT not permitted during a mail transaction'));
  if (!s.trusted) return sayBad(s, 'XCLIENT', one(550, '5.7.14', 'You are not from trusted IP'));
  const attributes = readAttributes(argument);
  if (typeof attributes === 'string') return sayBad(s, 'XCLIENT', one(501, '5.5.4', attributes));
  apply(s.client, attributes);
  return say(s, greeting(s));
}

interface Told extends LmtpForwarded {
  readonly address?: string;
  readonly port?: number;
  readonly helo?: string;
  readonly session?: string;
}

/** What was not told stays as it was, an earlier XCLIENT's attributes too. */
function apply(c: ClientState, attributes: Told): void {
  const { address, port, helo, session, ...forwarded } = attributes;
  if (address !== undefined) {
    c.remoteAddress = address;
    c.remotePort = 0;
  }
  if (port !== undefined) c.remotePort = port;
  if (helo !== undefined) c.lhlo = helo;
  if (session !== undefined) c.sessionId = session;
  const from = c.peer.remoteAddress;
  c.forwarded = { ...c.forwarded, ...forwarded, ...(from === '' ? {} : { fromAddress: from }) };
}

/** A text says what is wrong with the first that is. */
function readAttributes(argument: string): Told | string {
  const attributes: Told = {};
  if (argument === '') return attributes;
  for (const word of argument.split(' ')) {
    const fault = parameterFault(word);
    if (fault !== undefined) return `Invalid parameter: ${fault}`;
    const equals = word.indexOf('=');
    const name = (equals < 0 ? word : word.slice(0, equals)).toUpperCase();
    const decoded = decodeXtext(equals < 0 ? '' : word.slice(equals + 1));
    if ('fault' in decoded) return `Invalid ${name} parameter: ${decoded.fault}`;
    const more = readAttribute(name, decoded.text);
    if (more === undefined) return `Invalid ${name} parameter`;
    Object.assign(attributes, more);
  }
  return attributes;
}

/** Undefined for a malformed value; nothing where it says nothing. */
function readAttribute(name: string, value: string): Told | undefined {
  const unavailable = value.toUpperCase() === '[UNAVAILABLE]';
  switch (name) {
    case 'ADDR':
      return unavailable ? {} : told('address', readAddress(value));
    case 'PORT':
      return unavailable ? {} : told('port', readNumber(value, 1, 65_535));
    case 'HELO':
      return unavailable ? {} : unlessEmpty('helo', heloName(value));
    case 'LOGIN':
      return unavailable ? {} : unlessEmpty('login', value);
    case 'SESSION':
      return unavailable ? {} : unlessEmpty('session', readSession(value));
    case 'PROTO': {
      const proto = value.toUpperCase();
      return proto === 'SMTP' || proto === 'ESMTP' || proto === 'LMTP' ? { proto } : undefined;
    }
    case 'TTL':
      return told('ttl', readNumber(value, 0, 0xffffffff));
    case 'TIMEOUT':
      return told('timeoutSeconds', readNumber(value, 0, 0xffffffff));
    case 'DESTNAME':
      return unavailable ? {} : unlessEmpty('destName', heloName(value));
    case 'DESTADDR':
      return unavailable ? {} : told('destAddress', readAddress(value));
    case 'DESTPORT':
      return unavailable ? {} : told('destPort', readNumber(value, 1, 65_535));
    default:
      // NAME, and what other servers and later versions have: the host goes by what LHLO offered.
      return {};
  }
}

function told<K extends keyof Told>(name: K, value: Told[K] | undefined): Told | undefined {
  return value === undefined ? undefined : { [name]: value };
}

function unlessEmpty(name: 'helo' | 'login' | 'session' | 'destName', value: string): Told {
  return value === '' ? {} : { [name]: value };
}

function readAddress(value: string): string | undefined {
  const marked = /^ipv6:/i.test(value);
  const bracketed = /^\[(.*)\]$/.exec(value)?.[1];
  const address = marked ? value.slice(5) : (bracketed ?? value);
  const version = address.includes('%') ? 0 : isIP(address);
  return version === 6 || (version === 4 && !marked && bracketed === undefined) ? address : undefined;
}

function readNumber(value: string, least: number, most: number): number | undefined {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : -1;
  return number >= least && number <= most ? number : undefined;
}

/** Its place is in replies, Received fields and log lines: one word of bounded length. */
function readSession(value: string): string {
  return value.slice(0, 100).replace(/[^!-~]/g, '?');
}

/** xtext of RFC 3461 §4, whose raw octets have been checked. */
function decodeXtext(value: string): { readonly text: string } | { readonly fault: string } {
  if (!value.includes('+')) return { text: value };
  if (!/^(?:[^+]|\+[0-9A-F]{2})*$/.test(value)) return { fault: "Invalid hexchar after '+' in xtext" };
  const text = value.replace(/\+(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return text.includes('\0') ? { fault: 'Encountered NUL character in xtext' } : { text };
}
