/** SMTP and LMTP replies (RFC 5321 §4.2, enhanced status codes of RFC 3463 as RFC 2034 carries them). */

/** `class.subject.detail` of RFC 3463, for instance `5.1.1`. */
export type EnhancedStatus = `${2 | 4 | 5}.${number}.${number}`;

/**
 * One reply: three-digit code, optional enhanced status, one or more lines of text (octets, no CR or LF, and without
 * the enhanced status, which {@link formatReply} puts in front of each line).
 */
export interface Reply {
  readonly code: number;
  readonly status?: EnhancedStatus;
  readonly lines: readonly [string, ...string[]];
}

/** Makes a one-line reply. */
export function reply(code: number, status: EnhancedStatus | undefined, text: string): Reply {
  return status === undefined ? { code, lines: [text] } : { code, status, lines: [text] };
}

/** Makes a reply from a text whose lines are parted by LF; control characters become `?` so no line can forge another. */
export function replyFromText(code: number, status: EnhancedStatus | undefined, text: string): Reply {
  const [first = '', ...rest] = text
    .split(/\r?\n/)
    .map((line) => line.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, '?'));
  const lines: readonly [string, ...string[]] = [first, ...rest];
  return status === undefined ? { code, lines } : { code, status, lines };
}

/** 2xx: done. */
export function isPositive(r: Reply): boolean {
  return r.code >= 200 && r.code < 300;
}

/** 4xx: try again later. */
export function isTransient(r: Reply): boolean {
  return r.code >= 400 && r.code < 500;
}

/** 5xx: do not try again. */
export function isPermanent(r: Reply): boolean {
  return r.code >= 500 && r.code < 600;
}

/** The wire form, every line ended by CRLF. */
export function formatReply(r: Reply): string {
  const status = r.status === undefined ? '' : `${r.status} `;
  const last = r.lines.length - 1;
  if (last === 0) return `${r.code} ${status}${r.lines[0]}\r\n`;
  let out = '';
  r.lines.forEach((line, i) => {
    out += `${r.code}${i === last ? ' ' : '-'}${status}${line}\r\n`;
  });
  return out;
}

/** Code, status and text on one line, for logs: `550 5.1.1 no such user`. Further lines follow after `\n` as two characters, Exim's log form. */
export function replySummary(r: Reply): string {
  const status = r.status === undefined ? '' : `${r.status} `;
  return r.lines
    .map((line, i) => `${r.code}${i === r.lines.length - 1 ? ' ' : '-'}${status}${line}`)
    .join('\\n');
}
