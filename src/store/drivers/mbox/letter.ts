/**
 * A message as it stands in an mbox, in the form that Dovecot writes and reads: a `From ` line, the header with
 * Content-Length as its last field, the body as it is (lines that begin with `From ` are not quoted: the length says where
 * the message ends), an empty line.
 */
import type { ReversePath } from '../../../mail/address.ts';
import { quoteLocalPart, unquoteLocalPart } from '../../../mail/local-part.ts';
import { lineEnds } from '../maildir/line-ends.ts';

/** Header and body on their way into the file, in parts; lines end in LF. */
export interface LetterText {
  /** Converts the next part of the content as received; the answer is valid until the next call. */
  convert(chunk: Uint8Array): Uint8Array;
  /** The end of header or body, whichever was open: the body ends in LF, and the empty line is not included. */
  finish(): Uint8Array;
  /** Where among the octets given out the value of Content-Length stands, and that value. Known after `finish`. */
  contentLength(): { readonly at: number; readonly value: string };
}

/** What stands in the file until the length is known; {@link lengthOctets} octets after the name. */
const lengthField = 'Content-Length: ';
const lengthOctets = 15;

/** The last header line of a letter, by which recovery knows its own and finds the end of the body. */
export const lengthLine: RegExp = new RegExp(`\n${lengthField}([0-9]*) *\n$`);
/** Octets of that line with both its line ends. */
export const lengthLineOctets: number = lengthField.length + lengthOctets + 2;

/** Fields that belong to the mailbox and not to the message: Dovecot takes them off what comes in. */
const mailboxField = /^(?:content-length|status|x-imap|x-imapbase|x-keywords|x-status|x-uid)[ \t]*(?::|$)/i;
/** A line that would end the message in the middle of its header; `From : x` is a field in the old syntax of RFC 822. */
const fromLine = /^From (?![ \t]*:)/;
/** So many octets of a header line decide whether it stays. */
const decidingOctets = 32;
const lf = 0x0a;

export function letterText(): LetterText {
  const ends = lineEnds();
  let inBody = false;
  /** The beginning of a header line that is not decided yet. */
  let start = '';
  let deciding = true;
  let keep = true;
  let lastOctet = lf;
  let given = 0;
  let lengthAt = 0;
  let bodyOctets = 0;

  function body(part: Uint8Array): Uint8Array {
    bodyOctets += part.length;
    lastOctet = part[part.length - 1] ?? lastOctet;
    return part;
  }

  function endOfHeader(): Buffer {
    inBody = true;
    lastOctet = lf;
    return Buffer.from(`${lengthField}${' '.repeat(lengthOctets)}\n\n`, 'latin1');
  }

  function decide(line: string): Buffer {
    start = '';
    deciding = line.endsWith('\n');
    const continued = line.startsWith(' ') || line.startsWith('\t');
    if (!continued) keep = !mailboxField.test(line.trimEnd()) && !fromLine.test(line);
    return keep ? Buffer.from(line, 'latin1') : Buffer.alloc(0);
  }

  function header(part: Buffer): Uint8Array {
    const out: Uint8Array[] = [];
    let octets = 0;
    const give = (piece: Uint8Array): void => {
      if (piece.length === 0) return;
      out.push(piece);
      octets += piece.length;
      lastOctet = piece[piece.length - 1] ?? lastOctet;
    };
    for (let at = 0; at < part.length; ) {
      const end = part.indexOf(lf, at) + 1;
      if (!deciding) {
        const piece = part.subarray(at, end === 0 ? part.length : end);
        if (keep) give(piece);
        deciding = end > 0;
        at += piece.length;
        continue;
      }
      const room = at + decidingOctets - start.length;
      const piece = part.subarray(at, end === 0 ? Math.min(part.length, room) : Math.min(end, room));
      start += piece.toString('latin1');
      at += piece.length;
      if (start === '\n') {
        lengthAt = given + octets + lengthField.length;
        give(endOfHeader());
        out.push(body(part.subarray(at)));
        return Buffer.concat(out);
      }
      if (start.length === decidingOctets || start.endsWith('\n')) give(decide(start));
    }
    return Buffer.concat(out);
  }

  function take(part: Uint8Array): Uint8Array {
    const out = inBody ? body(part) : header(Buffer.from(part.buffer, part.byteOffset, part.length));
    given += out.length;
    return out;
  }

  return {
    convert: (chunk) => take(ends.convert(chunk)),
    finish() {
      const parts = [take(ends.finish())];
      if (!inBody) {
        const rest = start === '' ? Buffer.alloc(0) : decide(start);
        const open = (rest[rest.length - 1] ?? lastOctet) !== lf;
        parts.push(rest, Buffer.from(open ? '\n' : ''));
        lengthAt = given + rest.length + (open ? 1 : 0) + lengthField.length;
        parts.push(endOfHeader());
      } else if (lastOctet !== lf) parts.push(body(Buffer.of(lf)));
      return Buffer.concat(parts);
    },
    contentLength: () => ({ at: lengthAt, value: String(bodyOctets).padEnd(lengthOctets) }),
  };
}

/**
 * The line before a message: `From carol@example.test  Thu Nov 26 17:56:49 2026`, local time, as Dovecot writes it.
 * @param sender null for `<>`, written as MAILER-DAEMON
 */
export function separatorLine(sender: ReversePath, nowMs: number): string {
  const at = new Date(nowMs);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = `${days[at.getDay()]} ${months[at.getMonth()]} ${two(at.getDate())}`;
  return `From ${senderText(sender)}  ${day} ${time} ${at.getFullYear()}\n`;
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** White space of a quoted local part would end the sender, a control octet the line. */
function senderText(sender: ReversePath): string {
  if (sender === null) return 'MAILER-DAEMON';
  const local = quoteLocalPart(unquoteLocalPart(sender.local));
  return `${local}@${sender.domain}`.replace(/[\x00-\x20\x7f]/g, '?');
}
