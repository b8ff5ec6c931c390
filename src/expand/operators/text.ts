/** Operators on plain text: case, quoting, escaping, parts, lengths. */
import { lowerAscii, upperAscii } from '../ascii.ts';
import type { OperatorRow } from '../evaluator.ts';
import { error, type Result } from '../outcome.ts';
import { lengthOf, numericHash, substring, textualHash } from '../substrings.ts';

const octal = (c: string): string => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`;
const hex = (c: string): string => c.charCodeAt(0).toString(16).padStart(2, '0');

/** Escapes of `${escape:`; the tab is a printing character to Exim. */
function escape(c: string): string {
  return c === '\n' ? '\\n' : c === '\r' ? '\\r' : octal(c);
}

function quote(text: string): string {
  if (text !== '' && !/[^\w.-]/.test(text)) return text;
  const inner = text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  return `"${inner}"`;
}

/** RFC 5322 §3.4.1: a dot-atom needs no quotes. */
function quoteLocalPart(text: string): string {
  const plain = text !== '' && !/[^\w.!#$%&'*+\-/=?^`{|}~]|^\.|\.$/.test(text);
  return plain ? text : `"${text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`;
}

/** The numbers after the underscore: `_3_2`, `_-1`. Exim takes a missing digit for 0. */
function numbers(argument: string | undefined): readonly [number, number | undefined] | undefined {
  const found = /^(-?)([0-9]*)(?:_([0-9]+))?$/.exec(argument ?? '');
  if (found === null) return undefined;
  const [, sign, first, second] = found;
  return [
    Number(`${sign ?? ''}${first === '' ? '0' : (first ?? '0')}`),
    second === undefined ? undefined : Number(second),
  ];
}

/** An operator with one or two numbers, which are read before any evaluation. */
function numbered(
  signed: boolean,
  count: 1 | 2,
  apply: (text: string, first: number, second: number | undefined) => Result<string>,
  cleans = false,
): OperatorRow {
  return {
    check(argument, name) {
      if (argument === undefined) return `missing values after ${name}`;
      const found = numbers(argument);
      const tooMany = count === 1 && found?.[1] !== undefined;
      return found === undefined || tooMany || (!signed && argument.startsWith('-'))
        ? `non-digit after underscore in "${name}"`
        : undefined;
    },
    apply(text, argument) {
      const [first, second] = numbers(argument) ?? [0, undefined];
      return apply(text, first, second);
    },
    ...(cleans ? { cleans: true } : {}),
  };
}

const length = numbered(false, 1, lengthOf);
const substr = numbered(true, 2, substring);
const hash = numbered(false, 2, (s, n, m) => textualHash(s, n, m ?? 26));
const nhash = numbered(false, 2, numericHash, true);

/** Two-octet and longer sequences as RFC 3629 has them. */
const validUtf8 =
  /[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}/y;

/** A lead octet with what continues it, valid or not. */
const sequence = /[\xc2-\xdf][\x80-\xbf]?|[\xe0-\xef][\x80-\xbf]{0,2}|[\xf0-\xf7][\x80-\xbf]{0,3}|[^]/y;

/** Every sequence that is not valid, whole or cut short, becomes one `?`. */
function cleanUtf8(text: string): string {
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  let out = '';
  for (let i = 0; i < text.length; ) {
    validUtf8.lastIndex = i;
    const found = validUtf8.exec(text)?.[0];
    sequence.lastIndex = i;
    out += found ?? '?';
    i += (found ?? sequence.exec(text)?.[0] ?? '?').length;
  }
  return out;
}

function fromUtf8(text: string): string {
  return Array.from(Buffer.from(text, 'latin1').toString('utf8'), (c) =>
    (c.codePointAt(0) ?? 0) > 0xff ? '_' : c,
  ).join('');
}

export const textOperators: Readonly<Record<string, OperatorRow>> = {
  lc: { apply: lowerAscii },
  uc: { apply: upperAscii },
  strlen: { apply: (s) => String(s.length), cleans: true },
  escape: { apply: (s) => s.replace(/[^\t -~]/g, escape) },
  escape8bit: { apply: (s) => s.replace(/[\\\x7f-\xff]/g, octal) },
  hexquote: { apply: (s) => s.replace(/[^!-~]/g, (c) => `\\x${hex(c)}`) },
  rxquote: { apply: (s) => s.replace(/[^0-9A-Za-z]/g, '\\$&') },
  quote: { apply: quote },
  quote_local_part: { apply: quoteLocalPart },
  length,
  l: length,
  substr,
  s: substr,
  hash,
  h: hash,
  nhash,
  nh: nhash,
  utf8clean: { apply: cleanUtf8 },
  from_utf8: { apply: fromUtf8 },
  expand: {
    apply(s, _argument, frame) {
      if (frame.tainted && s !== '')
        return error(`internal expansion of "${s}" failed: attempt to expand tainted string '${s}'`);
      const r = frame.expandText(s, frame);
      return r instanceof Promise ? r.then((v) => internal(s, v)) : internal(s, r);
    },
  },
};

function internal<T>(source: string, r: T): T {
  if (typeof r !== 'object' || r === null || !('reason' in r)) return r;
  return { ...r, reason: `internal expansion of "${source}" failed: ${String(r.reason)}` };
}
