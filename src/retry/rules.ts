/** Retry rules as the configuration writes them (Exim manual, "Format of retry rules"). */
import type { Diagnostic, SourcePosition, SourceText } from '../mail/diagnostic.ts';
import { formatTimeInterval, parseTimeInterval } from '../mail/time-interval.ts';
import { formatRetryError, type RetryError, parseRetryError } from './error.ts';

/** One parameter set: an algorithm until the failure has lasted for `cutoffMs`. */
export type RetryAlgorithm =
  | { readonly letter: 'F'; readonly cutoffMs: number; readonly intervalMs: number }
  /** `factor` keeps three decimals, as Exim's does. */
  | {
      readonly letter: 'G' | 'H';
      readonly cutoffMs: number;
      readonly intervalMs: number;
      readonly factor: number;
    };

export interface RetryRule {
  /** One address list item, not yet expanded. */
  readonly pattern: string;
  /** Absent for `*`. */
  readonly error?: RetryError;
  /** An address list, not yet expanded; absent where the rule has none. */
  readonly senders?: string;
  /** Empty: no retries, the first temporary error is final. */
  readonly algorithms: readonly RetryAlgorithm[];
  readonly position: SourcePosition;
}

/**
 * Reads one line of the retry section: pattern, error, `senders=` list, parameter sets. Pattern and senders may be
 * quoted, with Exim's escapes.
 */
export function parseRetryRule(
  source: SourceText,
): { readonly rule: RetryRule } | { readonly diagnostic: Diagnostic } {
  const reader = new Reader(source.text);
  const fail = (message: string): { diagnostic: Diagnostic } => ({
    diagnostic: {
      severity: 'error',
      position: { ...source.position, column: source.position.column + reader.at },
      message,
    },
  });
  const pattern = reader.word();
  if (pattern === undefined) return fail('unterminated quoted string in retry rule');
  const errorText = reader.bareWord();
  if (errorText === '') return fail('missing error type in retry rule');
  const error = errorText === '*' ? undefined : parseRetryError(errorText);
  if (typeof error === 'string') return fail(error);
  let senders: string | undefined;
  if (/^senders\s*=/i.test(reader.rest())) {
    reader.skip(/^senders\s*=\s*/i);
    senders = reader.word();
    if (senders === undefined) return fail('unterminated quoted string in retry rule');
  }
  const algorithms: RetryAlgorithm[] = [];
  while (reader.rest() !== '') {
    const algorithm = readAlgorithm(reader);
    if (typeof algorithm === 'string') return fail(algorithm);
    algorithms.push(algorithm);
    if (reader.rest() === '') break;
    if (!reader.skip(/^;\s*/)) return fail('semicolon expected');
  }
  const rule: RetryRule = {
    pattern,
    ...(error === undefined ? {} : { error }),
    ...(senders === undefined ? {} : { senders }),
    algorithms,
    position: source.position,
  };
  return { rule };
}

/** The rule as `-brt` prints it after `Retry rule: `. */
export function formatRetryRule(rule: RetryRule): string {
  let out = `${rule.pattern}  ${formatRetryError(rule.error)}  `;
  for (const a of rule.algorithms) {
    out += `${a.letter},${formatTimeInterval(a.cutoffMs)},${formatTimeInterval(a.intervalMs)}`;
    // Exim leaves the factor of H out.
    if (a.letter === 'G') out += `,${formatFactor(a.factor)}`;
    out += '; ';
  }
  return out;
}

function formatFactor(factor: number): string {
  return Number.isInteger(factor) ? `${factor}.0` : `${factor}`;
}

function readAlgorithm(reader: Reader): RetryAlgorithm | string {
  const letter = reader.letter();
  if (letter !== 'F' && letter !== 'G' && letter !== 'H') return 'unknown retry rule letter';
  const args: string[] = [];
  const wanted = letter === 'F' ? 2 : 3;
  while (args.length < wanted) {
    if (!reader.skip(/^,\s*/)) return 'comma expected';
    args.push(reader.argument());
  }
  const cutoffMs = parseTimeInterval(args[0] ?? '');
  const intervalMs = parseTimeInterval(args[1] ?? '');
  if (cutoffMs === undefined || intervalMs === undefined || cutoffMs === 0 || intervalMs === 0)
    return 'bad parameters for retry rule';
  reader.skip(/^\s+/);
  if (letter === 'F') return { letter, cutoffMs, intervalMs };
  const text = args[2] ?? '';
  if (!/^\d+(?:\.\d*)?$/.test(text)) return 'bad parameters for retry rule';
  const factor = Math.floor(Number(text) * 1000 + 1e-6) / 1000;
  return factor < 1 ? 'bad parameters for retry rule' : { letter, cutoffMs, intervalMs, factor };
}

/** A cursor over one line. */
class Reader {
  at = 0;
  readonly text: string;
  constructor(text: string) {
    this.text = text.trimEnd();
    this.skip(/^\s+/);
  }
  rest(): string {
    return this.text.slice(this.at);
  }
  skip(pattern: RegExp): boolean {
    const found = pattern.exec(this.rest());
    if (found === null) return false;
    this.at += found[0].length;
    return true;
  }
  bareWord(): string {
    return this.take(/^\S*/);
  }
  argument(): string {
    return this.take(/^[^,;\s]*/, false);
  }
  letter(): string {
    return this.take(/^[A-Za-z]?/, false).toUpperCase();
  }
  /** A word, quoted or not; undefined for a quote that is not closed. */
  word(): string | undefined {
    if (this.text[this.at] !== '"') return this.bareWord();
    const raw = /^"(?:[^"\\]|\\.)*"/s.exec(this.rest())?.[0];
    if (raw === undefined) return undefined;
    this.at += raw.length;
    this.skip(/^\s+/);
    return unescape(raw.slice(1, -1));
  }
  private take(pattern: RegExp, spaceAfter = true): string {
    const found = pattern.exec(this.rest())?.[0] ?? '';
    this.at += found.length;
    if (spaceAfter) this.skip(/^\s+/);
    return found;
  }
}

const controls: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** Escapes of quoted strings (Exim manual, "String"): `\n` and the like, `\\`, octal, `\x41`; before others the backslash goes. */
function unescape(text: string): string {
  return text.replace(
    /\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))/gs,
    (_, hex?: string, octal?: string, other?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      return other === undefined ? '' : (controls[other] ?? other);
    },
  );
}
