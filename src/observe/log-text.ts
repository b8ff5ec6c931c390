/**
 * Octets made printable as Exim's logs have them (Exim manual, `print_topbitchars` false): control characters and octets
 * above 126 become `\n`, `\t` or three octal digits, so that no peer can forge a log line.
 */
export function logText(text: string): string {
  return plain.test(text) ? text : text.replace(/[^\x20-\x7e]/g, escape);
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
