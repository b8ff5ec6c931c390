/** Texts for the client (Exim manual, "ACL modifiers", `message`): overriding codes, and long lines made short. */
import type { EnhancedStatus } from '../mail/reply.ts';

export interface CodedText {
  readonly code?: number;
  readonly status?: EnhancedStatus;
  readonly text: string;
  /** The code was there but has another first digit than the verdict: it is dropped. */
  readonly wrongDigit: boolean;
}

const coded = /^(\d\d\d)\s(?:(\d\.\d{1,3}\.\d{1,3})\s)?/;

/** Takes `550 5.7.1 ` off the front of a message. `defaultCode` is what would be sent without. */
export function takeCode(message: string, defaultCode: number): CodedText {
  const m = coded.exec(message);
  if (m === null) return { text: message, wrongDigit: false };
  const text = message.slice(m[0].length);
  const code = Number(m[1]);
  if (Math.floor(code / 100) !== Math.floor(defaultCode / 100)) return { text, wrongDigit: true };
  const status = m[2];
  return { code, text, wrongDigit: false, ...(status !== undefined && isStatus(status) ? { status } : {}) };
}

function isStatus(text: string): text is EnhancedStatus {
  return /^[245]\./.test(text);
}

const lineLength = 75;
const shortest = 35;

/**
 * Breaks long lines at spaces, as Exim does before it sends a message: at most 75 characters where there is a space
 * after the 35th, after a colon rather than elsewhere, else at the next space.
 */
export function breakLines(message: string): string {
  if (message.length <= lineLength) return message;
  return message.split('\n').map(breakLine).join('\n');
}

function breakLine(line: string): string {
  let rest = line;
  let out = '';
  while (rest.length > lineLength) {
    const at = breakAt(rest);
    if (at < 0) break;
    out += `${rest.slice(0, at)}\n`;
    rest = rest.slice(at + 1);
  }
  return out + rest;
}

function breakAt(line: string): number {
  let last = -1;
  for (let i = lineLength; i > shortest; i--) {
    if (line[i] !== ' ') continue;
    if (line[i - 1] === ':') return i;
    if (last < 0) last = i;
  }
  return last < 0 ? line.indexOf(' ', lineLength + 1) : last;
}

/** What goes into a log line of a text that may have several lines. */
export function firstLine(text: string): string {
  const end = text.indexOf('\n');
  return end < 0 ? text : text.slice(0, end);
}
