import type { DsnNotify, Recipient } from '../mail/envelope.ts';
import type { Grammar, MailParams, ParamFault } from './grammar.ts';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Parameters of MAIL: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461), PRDR. */
export function parseMailParams(text: string, grammar: Grammar): MailParams | ParamFault {
  const out: Writable<MailParams> = {};
  return (
    eachParam(text, grammar, (name, value) => {
      switch (name) {
        case 'SIZE':
          if (!grammar.size) return 'unknown';
          if (out.declaredSize !== undefined) return 'repeated';
          if (value === undefined || !/^\d{1,20}$/.test(value)) return 'value';
          out.declaredSize = Math.min(Number(value), Number.MAX_SAFE_INTEGER);
          return undefined;
        case 'BODY': {
          if (out.body !== undefined) return 'repeated';
          const body = value?.toUpperCase();
          if (body !== '7BIT' && body !== '8BITMIME') return 'value';
          out.body = body;
          return undefined;
        }
        case 'SMTPUTF8':
          if (!grammar.smtputf8 || value !== undefined) return 'unknown';
          out.smtputf8 = true;
          return undefined;
        case 'PRDR':
          if (grammar.prdr !== true || value !== undefined) return 'unknown';
          out.prdr = true;
          return undefined;
        case 'XTRANSFER':
          if (grammar.transfer !== true) return 'unknown';
          if (out.transfer !== undefined) return 'repeated';
          if (value === undefined || !isTransferName(value)) return 'value';
          out.transfer = value;
          return undefined;
        case 'RET': {
          if (!grammar.dsn) return 'unknown';
          if (out.ret !== undefined) return 'repeated';
          const ret = value?.toUpperCase();
          if (ret !== 'FULL' && ret !== 'HDRS') return 'value';
          out.ret = ret;
          return undefined;
        }
        case 'ENVID':
          if (!grammar.dsn) return 'unknown';
          if (out.envid !== undefined) return 'repeated';
          if (value === undefined || value.length > 100 || !isXtext(value)) return 'value';
          out.envid = value;
          return undefined;
        default:
          return 'unknown';
      }
    }) ?? out
  );
}

/** Parameters of RCPT: NOTIFY and ORCPT (RFC 3461 §4.1, §4.2), and XRCPTFORWARD (RFC 4648's base64, as Dovecot's proxies send it). */
export function parseRcptParams(text: string, grammar: Grammar): Omit<Recipient, 'address'> | ParamFault {
  const out: Writable<Omit<Recipient, 'address'>> = {};
  return (
    eachParam(text, grammar, (name, value) => {
      if (name === 'NOTIFY') {
        if (!grammar.dsn) return 'unknown';
        if (out.notify !== undefined) return 'repeated';
        const notify = parseNotify(value ?? '');
        if (notify === undefined) return 'value';
        out.notify = notify;
        return undefined;
      }
      if (name === 'ORCPT') {
        if (!grammar.dsn && !grammar.orcpt) return 'unknown';
        if (out.orcpt !== undefined) return 'repeated';
        if (value === undefined || value.length > 500 || !isOriginalRecipient(value)) return 'value';
        out.orcpt = value;
        return undefined;
      }
      if (name === 'XTRANSFER') {
        if (grammar.transfer !== true) return 'unknown';
        if (out.transferNumber !== undefined) return 'repeated';
        if (value === undefined || !isTransferName(value)) return 'value';
        out.transferNumber = value;
        return undefined;
      }
      if (name === 'XRCPTFORWARD') {
        if (grammar.forward !== true) return 'unknown';
        if (value === undefined || !isXtext(value)) return 'value';
        out.forward = value;
        return undefined;
      }
      return 'unknown';
    }) ?? out
  );
}

/** Names of transfers are short and plain, so that they need no encoding. */
function isTransferName(value: string): boolean {
  return /^[\w.-]{1,100}$/.test(value);
}

function eachParam(
  text: string,
  grammar: Grammar,
  take: (name: string, value: string | undefined) => ParamFault['error'] | undefined,
): ParamFault | undefined {
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf(' ', at);
    if (end < 0) end = text.length;
    if (end > at) {
      const param = text.slice(at, end);
      const equals = param.indexOf('=');
      const name = (equals < 0 ? param : param.slice(0, equals)).toUpperCase();
      const value = equals < 0 ? undefined : param.slice(equals + 1);
      // esmtp-value of RFC 5321 §4.1.2 has no "=".
      const error = grammar.parameters && !value?.includes('=') ? take(name, value) : 'unknown';
      if (error !== undefined) return { error, name, text: text.slice(at) };
    }
    at = end + 1;
  }
  return undefined;
}

function parseNotify(value: string): DsnNotify | undefined {
  const words = value.toLowerCase().split(',');
  if (words.length === 1 && words[0] === 'never') return 'never';
  const out: ('success' | 'failure' | 'delay')[] = [];
  for (const word of words) {
    if (word !== 'success' && word !== 'failure' && word !== 'delay') return undefined;
    if (!out.includes(word)) out.push(word);
  }
  return out;
}

/** xtext of RFC 3461 §4: printable ASCII but `+` and `=`, and `+` with two upper-case hexadecimal digits. */
export function isXtext(value: string): boolean {
  return /^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/.test(value);
}

/** `addr-type ";" xtext`; with SMTPUTF8 also `utf-8;` with octets above 127 (RFC 6533 §3). */
function isOriginalRecipient(value: string): boolean {
  const semicolon = value.indexOf(';');
  if (!/^[A-Za-z0-9-]+$/.test(value.slice(0, Math.max(0, semicolon)))) return false;
  return isXtext(value.slice(semicolon + 1).replace(/[\x80-\xff]/g, '?'));
}
