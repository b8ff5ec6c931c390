/** The part of a bounce that people read: an indented paragraph for each address, as Exim lays it out. */
import { formatAddress } from '../mail/address.ts';
import { type FailedRecipient, printable } from './failure.ts';

const widest = 76;

/** Address, host, what was said; every line ended by CRLF. */
export function failureParagraph(f: FailedRecipient): string {
  let out = `\r\n  ${printable(formatAddress(f.original ?? f.address))}\r\n`;
  if (f.original !== undefined && f.hidden !== true)
    out += `    (redirected to ${printable(f.target ?? formatAddress(f.address))})\r\n`;
  if (f.status.peer !== undefined) out += `    host ${printable(f.status.peer)}\r\n`;
  // Lines of a reply are parted by `\n` as two characters, the log's form.
  for (const line of f.status.text.split(/\\n|\r?\n/)) out += wrapped(printable(line), '    ');
  if (f.timedOut) out += '    retry timeout exceeded\r\n';
  return out;
}

/** What a command wrote, under its recipient's name; every line ended by CRLF. */
export function outputParagraph(f: FailedRecipient): string {
  const lines = (f.status.output ?? '').replace(/\n+$/, '').split('\n');
  const name = printable(formatAddress(f.original ?? f.address));
  return `\r\n------ ${name} ------\r\n\r\n${lines.map((line) => `${printable(line.replaceAll('\t', ' '))}\r\n`).join('')}`;
}

/** Breaks a text at spaces so that lines stay short where they can; every line is indented and ended by CRLF. */
export function wrapped(text: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > widest) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((l) => `${indent}${l}\r\n`).join('');
}
