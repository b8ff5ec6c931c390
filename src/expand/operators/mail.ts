/** Operators on addresses, IP addresses and lists. */
import { readList } from '../../mail/list-text.ts';
import { formatAddressText, parseAddressText, splitAddresses, type AddressText } from '../address-text.ts';
import type { OperatorRow } from '../evaluator.ts';
import { compressIpv6, fullIpv6, ipOctets, ipv6Groups, maskOctets } from '../ip.ts';
import { quoteItem } from '../list-items.ts';
import { error, type Outcome } from '../outcome.ts';
import type { MatchKind } from '../scope.ts';

function ofAddress(pick: (a: AddressText) => string): OperatorRow {
  return {
    apply: (s) => {
      const a = parseAddressText(s);
      return a === undefined ? '' : pick(a);
    },
  };
}

function addresses(text: string): Outcome<string> {
  const chosen = /^\s*>/.exec(text);
  const separator = chosen === null ? ':' : text.charAt(chosen[0].length);
  if (separator === '')
    return error(`output separator missing in expanding \${addresses:${text.trimStart()}}`);
  const rest = chosen === null ? text : text.slice(chosen[0].length + 1);
  const found: string[] = [];
  for (const item of splitAddresses(rest)) {
    const address = parseAddressText(item);
    if (address !== undefined && address.local !== '')
      found.push(quoteItem(formatAddressText(address), separator));
  }
  return found.join(separator);
}

const octetText = (octets: Uint8Array): string => octets.join('.');

function mask(text: string, argument: string | undefined): Outcome<string> {
  const [address = '', bitsText, more] = text.split('/');
  const octets = ipOctets(address);
  if (octets === undefined) return error(`"${text}" is not an IP address`);
  if (bitsText === undefined) return error(`missing mask value in "${text}"`);
  if (bitsText === '') return error(`missing mask value in "${text}"`);
  if (more !== undefined || !/^\s*\+?[0-9]+$/.test(bitsText)) return error(`"${text}" is not an IP address`);
  const bits = Number(bitsText);
  if (bits > octets.length * 8) return error(`mask value too big in "${text}"`);
  const masked = maskOctets(octets, bits);
  if (masked.length === 4) return `${octetText(masked)}/${bits}`;
  const groups = ipv6Groups(masked);
  return `${argument === 'n' ? compressIpv6(groups) : fullIpv6(groups, '.')}/${bits}`;
}

function reverseIp(text: string): Outcome<string> {
  const octets = ipOctets(text);
  if (octets === undefined) return error(`reverse_ip() not given an IP address [${text}]`);
  const mapped = octets.length === 16 && /^0{20}ffff/.test(Buffer.from(octets).toString('hex'));
  if (octets.length === 4 || mapped) return octetText(octets.slice(-4).toReversed());
  return Array.from(Buffer.from(octets).toString('hex')).toReversed().join('.');
}

function ofIp(format: (groups: readonly number[]) => string): OperatorRow {
  return {
    apply: (s) => {
      const octets = ipOctets(s);
      return octets === undefined ? error(`"${s}" is not an IP address`) : format(ipv6Groups(octets));
    },
  };
}

const kinds: ReadonlyMap<string, MatchKind> = new Map([
  ['a', 'address'],
  ['d', 'domain'],
  ['h', 'host'],
  ['l', 'local_part'],
]);
const kindWords: Readonly<Record<MatchKind, string>> = {
  address: 'address',
  domain: 'domain',
  host: 'host',
  local_part: 'localpart',
};

const listNamed: OperatorRow = {
  check: (argument) =>
    argument === undefined || kinds.has(argument) ? undefined : 'bad suffix on "list" operator',
  apply(text, argument, frame) {
    const name = text.startsWith('+') ? text.slice(1) : text;
    const kind = argument === undefined ? undefined : kinds.get(argument);
    const content = frame.scope.services.namedList?.(kind, name);
    if (content !== undefined) return content;
    return error(`"${name}" is not a ${kind === undefined ? '' : `${kindWords[kind]} `}named list`);
  },
};

export const mailOperators: Readonly<Record<string, OperatorRow>> = {
  address: ofAddress(formatAddressText),
  domain: ofAddress((a) => a.domain),
  local_part: ofAddress((a) => a.local),
  addresses: { apply: addresses },
  mask: { apply: mask, cleans: true },
  reverse_ip: { apply: reverseIp, cleans: true },
  ipv6norm: { ...ofIp(compressIpv6), cleans: true },
  ipv6denorm: { ...ofIp((g) => fullIpv6(g)), cleans: true },
  listcount: { apply: (s) => String(readList(s).items.length), cleans: true },
  listnamed: listNamed,
};
