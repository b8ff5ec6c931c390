/** Digests and encodings. */
import { createHash } from 'node:crypto';
import { domainToASCII, domainToUnicode } from 'node:url';
import type { OperatorRow } from '../evaluator.ts';
import { error } from '../outcome.ts';
import { decodeRfc2047, encodeRfc2047 } from '../rfc2047.ts';

const octets = (s: string): Buffer => Buffer.from(s, 'latin1');

function digest(algorithm: string, upper: boolean): OperatorRow {
  return {
    apply: (s) => {
      const hex = createHash(algorithm).update(octets(s)).digest('hex');
      return upper ? hex.toUpperCase() : hex;
    },
    cleans: true,
  };
}

/** `sha2_512`, `sha3_224`: the length picks the member of the family. */
function family(name: 'sha2' | 'sha3', prefix: string, lengths: readonly string[]): OperatorRow {
  return {
    check: (argument) =>
      argument === undefined || lengths.includes(argument) ? undefined : `unrecognised ${name} variant`,
    apply: (s, argument) =>
      createHash(`${prefix}${argument ?? '256'}`)
        .update(octets(s))
        .digest('hex')
        .toUpperCase(),
    cleans: true,
  };
}

const base64: OperatorRow = { apply: (s) => octets(s).toString('base64') };

const sha2 = family('sha2', 'sha', ['256', '384', '512']);

const digits62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const digits32 = 'abcdefghijklmnopqrstuvwxyz234567';
const word = 2n ** 64n;

/** As strtoull reads a number: the largest one for larger ones, from the other end for negative ones. */
function unsigned(text: string): bigint {
  const value = BigInt(text.trim() === '' ? 0 : text.trim().replace(/^[-+]/, ''));
  const size = value >= word ? word - 1n : value;
  return text.trim().startsWith('-') && value < word ? BigInt.asUintN(64, -size) : size;
}

function toBase(text: string, digits: string): string {
  const base = BigInt(digits.length);
  let out = '';
  for (let rest = unsigned(text); rest > 0n; rest /= base) out = digits.charAt(Number(rest % base)) + out;
  return out;
}

function fromBase(text: string, digits: string): string | undefined {
  let value = 0n;
  for (const c of text) {
    const digit = digits.indexOf(c);
    if (digit < 0) return undefined;
    value = (value * BigInt(digits.length) + BigInt(digit)) % word;
  }
  return String(BigInt.asIntN(64, value));
}

/** As wide as Exim's fields: zeros in front, or digits lost in front. Width 0 is as wide as needed. */
function fit(digits: string, width: number): string {
  return width === 0 ? digits : digits.padStart(width, '0').slice(-width);
}

function encodeBase(name: string, digits: string, width: number): OperatorRow {
  return {
    apply: (s) =>
      /^(?:\s*[-+]?[0-9]+)?$/.test(s)
        ? fit(toBase(s, digits), width)
        : error(`argument for ${name} operator is "${s}", which is not a decimal number`),
    cleans: true,
  };
}

function decodeBase(name: string, digits: string): OperatorRow {
  return {
    apply: (s) =>
      fromBase(s, digits) ??
      error(`argument for ${name} operator is "${s}", which is not a base ${digits.length} number`),
    cleans: true,
  };
}

const utf8Text = (s: string): string => octets(s).toString('utf8');
const utf8Octets = (s: string): string => Buffer.from(s, 'utf8').toString('latin1');

/** IDNA of each label; an unchanged name where there is nothing to convert. */
function alabel(convert: (s: string) => string, what: string): OperatorRow {
  return {
    apply: (s) => {
      if (s === '') return '';
      const r = convert(utf8Text(s));
      return r === '' ? error(`error converting ${what.replace('%', s)}`) : utf8Octets(r);
    },
  };
}

const toAlabel = alabel(domainToASCII, 'utf8 (%) to alabel');
const fromAlabel = alabel(domainToUnicode, 'alabel (%) to utf8');

export const encodeOperators: Readonly<Record<string, OperatorRow>> = {
  md5: digest('md5', false),
  sha1: digest('sha1', true),
  sha2,
  sha256: sha2,
  sha3: family('sha3', 'sha3-', ['224', '256', '384', '512']),
  base64,
  str2b64: base64,
  base64d: {
    apply: (s) =>
      /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(s)
        ? Buffer.from(s, 'base64').toString('latin1')
        : error(`string "${s}" is not well-formed for "base64d" operator`),
  },
  hex2b64: {
    apply: (s) => {
      if (/[^0-9A-Fa-f]/.test(s)) return error(`"${s}" is not a hex string`);
      if (s.length % 2 !== 0) return error(`"${s}" contains an odd number of characters`);
      return Buffer.from(s, 'hex').toString('base64');
    },
  },
  base32: encodeBase('base32', digits32, 0),
  base32d: decodeBase('base32d', digits32),
  base62: encodeBase('base62', digits62, 6),
  base62d: decodeBase('base62d', digits62),
  rfc2047: { apply: (s, _argument, f) => encodeRfc2047(s, f.scope.main.headersCharset ?? 'UTF-8') },
  rfc2047d: {
    apply: (s, _argument, f) =>
      decodeRfc2047(s, f.scope.main.headersCharset ?? 'UTF-8', f.scope.main.checkRfc2047Length),
  },
  utf8_domain_to_alabel: toAlabel,
  utf8_domain_from_alabel: fromAlabel,
  utf8_localpart_to_alabel: toAlabel,
  utf8_localpart_from_alabel: fromAlabel,
};
