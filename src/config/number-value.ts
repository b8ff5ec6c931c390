/** Numbers of a configuration (Exim manual, "Integer values", "Octal integer values", "Fixed point numbers"). */

export type NumberResult = { readonly value: number } | { readonly wrong: string };

const largest = 2 ** 31 - 1;

/**
 * Decimal, octal (leading 0) or hexadecimal (0x) with K, M or G in either case. `what` is for messages.
 *
 * @param radix 8 reads octal whatever the number begins with
 */
export function readInteger(text: string, what: string, radix?: 8): NumberResult {
  const kind = radix === 8 ? 'octal integer' : 'integer';
  let i = 0;
  const sign = text[i] === '-' || text[i] === '+' ? text[i++] : '+';
  let base: 8 | 10 | 16 = radix ?? 10;
  if (radix === undefined && text[i] === '0') {
    if ((text[i + 1] === 'x' || text[i + 1] === 'X') && isDigit(text[i + 2], 16)) {
      base = 16;
      i += 2;
    } else base = 8;
  }
  const start = i;
  while (isDigit(text[i], base)) i++;
  if (i === start) return { wrong: `${kind} expected for ${what}` };
  let value = Number.parseInt(text.slice(start, i), base);
  const suffix = 'KMG'.indexOf((text[i] ?? '?').toUpperCase());
  if (suffix >= 0) {
    value *= 1024 ** (suffix + 1);
    i++;
  }
  if (value > largest) return { wrong: `absolute value of integer "${text}" is too large (overflow)` };
  const rest = text.slice(i).trimStart();
  if (rest !== '') return { wrong: `extra characters follow ${kind} value for ${what}${commentNote(rest)}` };
  return { value: sign === '-' && value > 0 ? -value : value };
}

/** KiB: a bare number counts KiB, one with K, M or G counts octets. */
export function readKilobytes(text: string, what: string): NumberResult {
  const upper = text.toUpperCase();
  const scale = upper.endsWith('G') ? 1024 ** 2 : upper.endsWith('M') ? 1024 : 1;
  const bare = /[KMG]$/.test(upper) ? text.slice(0, -1) : text;
  const number = readInteger(bare, what);
  if ('wrong' in number) return number;
  const value = number.value * scale;
  return Math.abs(value) > largest
    ? { wrong: `absolute value of integer "${text}" is too large (overflow)` }
    : { value };
}

/** A decimal number whose fourth and further decimals are dropped. */
export function readFixedPoint(text: string, what: string): NumberResult {
  let i = 0;
  while (isDigit(text[i], 10)) i++;
  if (i === 0) return { wrong: `fixed-point number expected for ${what}` };
  let thousandths = Number(text.slice(0, i)) * 1000;
  if (text[i] === '.') {
    const start = ++i;
    while (isDigit(text[i], 10)) i++;
    thousandths += Number(text.slice(start, i).slice(0, 3).padEnd(3, '0'));
  }
  if (thousandths > largest) return { wrong: `integer "${text}" is too large (overflow)` };
  const rest = text.slice(i).trimStart();
  if (rest !== '')
    return { wrong: `extra characters follow fixed-point value for ${what}${commentNote(rest)}` };
  return { value: thousandths / 1000 };
}

function commentNote(rest: string): string {
  return rest.startsWith('#') ? ' (# is comment only at line start)' : '';
}

function isDigit(c: string | undefined, base: 8 | 10 | 16): boolean {
  if (c === undefined) return false;
  if (base === 16) return '0123456789abcdefABCDEF'.includes(c);
  return c >= '0' && c <= (base === 8 ? '7' : '9');
}
