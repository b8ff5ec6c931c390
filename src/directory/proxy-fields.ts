/** Where a user's mail is handed on to, from the passdb fields of Dovecot's proxying (manual, "PasswordDatabase/ExtraFields/Proxy"). */
import type { ProxyTarget } from '../mail/mail-user.ts';

/** Dovecot's port for LMTP between machines. */
const defaultPort = 24;

/**
 * `proxy`, `host` (an IP address), `port`, `destuser`, `proxy_timeout` (seconds), `ssl`, `starttls`; undefined where `proxy` is
 * absent, a text where something is wrong or asks for what is not done: then the mail waits.
 */
export function readProxyFields(fields: ReadonlyMap<string, string>): ProxyTarget | undefined | string {
  if (isOn(fields.get('proxy_maybe'))) return 'proxy_maybe is not supported: write proxy';
  if (!isOn(fields.get('proxy'))) return undefined;
  const host = fields.get('host') ?? '';
  if (!isAddress(host)) return `proxy: host "${printable(host)}" is not an IP address`;
  const portText = fields.get('port') ?? '';
  const port = portText === '' ? defaultPort : number(portText);
  if (port === undefined || port < 1 || port > 65_535)
    return `proxy: port "${printable(portText)}" is not one`;
  const seconds = fields.get('proxy_timeout') ?? '';
  const timeout = seconds === '' ? undefined : number(seconds);
  if (seconds !== '' && (timeout === undefined || timeout > 86_400))
    return `proxy: proxy_timeout "${printable(seconds)}" is not a number of seconds`;
  const protocol = fields.get('protocol') ?? '';
  if (protocol !== '' && protocol !== 'lmtp')
    return `proxy: protocol "${printable(protocol)}" is not supported: mail is handed on by LMTP`;
  const tls = tlsOf(fields);
  if (typeof tls === 'object') return tls.problem;
  const recipient = fields.get('destuser') ?? '';
  return {
    host,
    port,
    ...(recipient === '' ? {} : { recipient }),
    ...(timeout === undefined || timeout === 0 ? {} : { timeoutMs: timeout * 1000 }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function tlsOf(fields: ReadonlyMap<string, string>): ProxyTarget['tls'] | { readonly problem: string } {
  for (const [field, tls] of [
    ['starttls', 'starttls'],
    ['ssl', 'implicit'],
  ] as const) {
    const value = fields.get(field);
    if (!isOn(value)) continue;
    if (value === 'any-cert')
      return { problem: `proxy: ${field}=any-cert is not supported: certificates are verified` };
    return tls;
  }
  return undefined;
}

/** A field that is there says yes, unless it says no. */
function isOn(value: string | undefined): boolean {
  return value !== undefined && !/^(?:no|n|0|false)?$/i.test(value);
}

function number(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function isAddress(text: string): boolean {
  const octets = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (octets !== null) return octets.slice(1).every((o) => Number(o) <= 255);
  return /^[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}$/.test(text) && text.includes(':');
}

function printable(text: string): string {
  return text.slice(0, 80).replace(/[\x00-\x1f\x7f]/g, '?');
}
