/** Between octet strings, which lookups work on, and the text that a library takes and gives. */
import { errorText } from '../../mail/error-text.ts';

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text that these octets are in UTF-8; undefined where they are none, or contain a NUL. */
export function textOf(octets: string): string | undefined {
  if (octets.includes('\0')) return undefined;
  try {
    return strict.decode(Buffer.from(octets, 'latin1'));
  } catch {
    return undefined;
  }
}

export function octetsOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The message of what was thrown, on one line. */
export function messageOf(e: unknown): string {
  const text = e instanceof AggregateError && e.errors.length > 0 ? messageOf(e.errors[0]) : errorText(e);
  return text.replace(/\s+/g, ' ').trim();
}
