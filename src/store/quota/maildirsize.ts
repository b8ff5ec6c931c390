/** The text of a `maildirsize` file (Maildir++ specification; written octet for octet as Dovecot 2.3 writes it). Pure text work. */
import { readMaildirLimits } from './rules.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';

/** A file so long is counted anew: Dovecot's and Maildir++'s bound. */
export const maxMaildirsizeOctets = 5120;
/** Figures over a limit are not trusted for longer. */
export const staleMs: number = 15 * 60_000;

export interface MaildirsizeText {
  /** Of the first line; undefined where it cannot be read. */
  readonly limits: Amount | undefined;
  readonly used: Amount;
  /** Lines after the first. */
  readonly lines: number;
}

/** A file with nothing but a sum. Without limits Dovecot writes `0S`. */
export function formatMaildirsize(limits: Amount, used: Amount): string {
  const parts: string[] = [];
  if (limits.bytes !== 0 || limits.messages === 0) parts.push(`${limits.bytes}S`);
  if (limits.messages !== 0) parts.push(`${limits.messages}C`);
  return `${parts.join(',')}\n${formatChange(used)}`;
}

/** The line that is added for a change. */
export function formatChange({ bytes, messages }: Amount): string {
  return `${bytes} ${messages}\n`;
}

/** Undefined where the figures are not to be used: an empty file, a broken or torn line, a negative sum, figures out of range. */
export function parseMaildirsize(text: string): MaildirsizeText | undefined {
  if (text.length >= maxMaildirsizeOctets || !text.endsWith('\n') || text.includes('\0')) return undefined;
  const [first = '', ...lines] = text.slice(0, -1).split('\n');
  let used = nothing;
  for (const line of lines) {
    // As scanf(3) reads `%lld %d`: what follows the numbers is of no account.
    const m = /^\s*([+-]?[0-9]+)\s+([+-]?[0-9]+)/.exec(line);
    if (m === null) return undefined;
    used = sum(used, { bytes: Number(m[1]), messages: Number(m[2]) });
  }
  if (!inRange(used.bytes) || !inRange(used.messages)) return undefined;
  return { limits: readHeader(first), used, lines: lines.length };
}

function inRange(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

/** Dovecot passes over parts that it does not know, as long as the limits come out right. */
function readHeader(line: string): Amount | undefined {
  const known = line.split(',').filter((part) => /^[0-9]+[SC]$/.test(part));
  return known.length === 0 ? undefined : readMaildirLimits(known.join(','));
}

/** Whether figures over a limit must be counted anew: more than the sum was written, or it is old. */
export function isDoubtful({ used, lines }: MaildirsizeText, limits: Amount, ageMs: number): boolean {
  const over =
    (limits.bytes !== 0 && used.bytes > limits.bytes) ||
    (limits.messages !== 0 && used.messages > limits.messages);
  return over && (lines > 1 || ageMs > staleMs);
}
