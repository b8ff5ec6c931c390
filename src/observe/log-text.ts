/**
 * Octets made printable as Exim's logs have them: control characters and octets above 126 become `\n`, `\t` or three octal
 * digits, so that no peer can forge a log line.
 */
export function logText(text: string): string {
  return plain.test(text) ? text : text.replace(unprintable, escape);
}

let unprintable = /[^\x20-\x7e]/g;

/** `print_topbitchars`: whether octets above 127 stay as they are. Holds for all of the process's logs. */
export function printTopBitCharacters(print: boolean): void {
  unprintable = print ? /[^\x20-\x7e\x80-\xff]/g : /[^\x20-\x7e]/g;
}

const plain = /^[\x20-\x7e]*$/;

function escape(c: string): string {
  switch (c) {
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    case '\t':
      return '\\t';
    default:
      return `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`;
  }
}
