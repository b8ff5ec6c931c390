/** The octets of a message as a local delivery writes them: line ends of the system, marked lines, prefix and suffix. */
import type { MessageSource } from '../../../mail/message-source.ts';

/** Texts are octet strings (Exim manual, `check_string`, `message_prefix`). */
export interface LocalFormat {
  readonly prefix: string;
  readonly suffix: string;
  /** A line of the body that begins with this begins with `escapeString` instead; both or none. */
  readonly checkString?: string;
  readonly escapeString?: string;
  /** The message begins with its body (`body_only`). */
  readonly bodyOnly: boolean;
  /** Lines keep their CRLF. */
  readonly useCrlf: boolean;
}

/** The message in its local form, in chunks. A last line without its end gets one. */
export async function* localContent(
  message: MessageSource,
  format: LocalFormat,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  if (format.prefix !== '') yield Buffer.from(format.prefix, 'latin1');
  const mark = format.escapeString === undefined ? undefined : format.checkString;
  let held = '';
  let atLineStart = true;
  let inHeader = !format.bodyOnly;
  for await (const chunk of message.open(signal)) {
    held += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1');
    // Whole lines, or of a very long one as much as decides nothing.
    let end = held.lastIndexOf('\n') + 1;
    const long = held.length - end > longestHeld;
    if (long) end = held.length - (held.endsWith('\r') ? 1 : 0);
    if (end === 0) continue;
    let from = 0;
    if (inHeader) {
      // Lines of the header are never marked.
      const body = afterBlankLine(held.slice(0, end), atLineStart);
      inHeader = body === undefined;
      from = body ?? end;
      yield convert(held.slice(0, from), format, undefined, false);
    }
    if (from < end) yield convert(held.slice(from, end), format, mark, from > 0 || atLineStart);
    atLineStart = !long;
    held = held.slice(end);
  }
  if (held !== '') yield convert(held.endsWith('\r') ? held.slice(0, -1) : held, format, mark, atLineStart);
  if (held !== '' || !atLineStart) yield Buffer.from(format.useCrlf ? '\r\n' : '\n', 'latin1');
  if (format.suffix !== '') yield Buffer.from(format.suffix, 'latin1');
}

function afterBlankLine(text: string, atLineStart: boolean): number | undefined {
  if (atLineStart && text.startsWith('\r\n')) return 2;
  const at = text.indexOf('\r\n\r\n');
  return at < 0 ? undefined : at + 4;
}

const longestHeld = 65_536;

function convert(text: string, format: LocalFormat, mark: string | undefined, atLineStart: boolean): Buffer {
  let out = format.useCrlf ? text : text.replaceAll('\r\n', '\n');
  const escape = format.escapeString ?? '';
  if (mark !== undefined && mark !== '') {
    if (out.includes(`\n${mark}`)) {
      const parts = out.split(`\n${mark}`);
      out = parts.join(`\n${escape}`);
    }
    if (atLineStart && out.startsWith(mark)) out = escape + out.slice(mark.length);
  }
  return Buffer.from(out, 'latin1');
}
