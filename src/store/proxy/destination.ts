/** Which address a backend is given. */
import { isIP } from 'node:net';
import {
  formatAddress,
  isSyntaxError,
  parseAddress,
  type Address,
  type LocalPart,
} from '../../mail/address.ts';
import { quoteLocalPart, unquoteLocalPart } from '../../mail/local-part.ts';
import type { ProxyTarget } from '../../mail/mail-user.ts';

const maxOctets = 500;

/**
 * The recipient as given, or the entry's own with the detail of the given one, as Dovecot's `destuser`. A text says what
 * of the entry cannot be used: names of hosts are not looked up, since a slow name server would hold up the dialogue.
 */
export function destination(given: Address, target: ProxyTarget, suffix: string): Address | string {
  if (isIP(target.host) === 0) return `failed: host "${shown(target.host)}" is not an IP address`;
  if (!Number.isInteger(target.port) || target.port < 1 || target.port > 65_535)
    return `failed: ${target.port} is no port`;
  const name = target.recipient;
  if (name === undefined) return given;
  const at = name.lastIndexOf('@');
  const local = unquoteLocalPart(at < 0 ? name : name.slice(0, at)) + suffix;
  const domain = at < 0 ? '' : name.slice(at + 1);
  const faulty = `failed: destination "${shown(name)}" is no address`;
  if (local === '' || local.length + domain.length > maxOctets || /[\x00-\x1f\x7f]|[^\x00-\xff]/.test(local))
    return faulty;
  const localPart = quoteLocalPart(local) as LocalPart;
  if (at < 0) return { local: localPart, domain: '' as Address['domain'] };
  const parsed = parseAddress(formatAddress({ local: localPart, domain: domain as Address['domain'] }));
  return isSyntaxError(parsed) ? faulty : parsed;
}

function shown(text: string): string {
  return text.slice(0, 80).replace(/[^\x20-\x7e]/g, '?');
}
