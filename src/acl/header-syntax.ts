/** `verify = header_syntax` (Exim manual, "ACL conditions"): every address in the header can be read. */
import { parseAddressText, splitAddresses } from '../expand/address-text.ts';
import { extractParts } from '../mail/extract-address.ts';
import { headerBody, type HeaderField } from '../mail/headers.ts';

const addressFields: ReadonlySet<string> = new Set(['from', 'reply-to', 'sender', 'to', 'cc', 'bcc']);

const maxQuoted = 1024;

/** What is wrong with an address that cannot be read, in Exim's words. */
export function addressFault(text: string): string {
  const found = extractParts(text);
  return 'error' in found ? found.error : 'malformed address';
}

/** What is wrong with the first address that cannot be read, or lacks a domain; undefined where there is none. */
export function headerSyntaxFault(fields: readonly HeaderField[]): string | undefined {
  for (const field of fields) {
    if (!addressFields.has(field.name.toLowerCase())) continue;
    for (const item of splitAddresses(headerBody(field))) {
      const address = parseAddressText(item);
      if (address !== undefined && address.domain !== '') continue;
      const what = address === undefined ? addressFault(item) : 'unqualified address not permitted';
      const text = item.trim().replace(/\s+/g, ' ');
      const verb = text.length > maxQuoted ? 'begins' : 'is';
      return `${what}: failing address in "${field.name}:" header ${verb}: ${text.slice(0, maxQuoted)}`;
    }
  }
  return undefined;
}
