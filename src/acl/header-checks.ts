/** What `verify = header_sender`, `header_names_ascii` and `not_blind` look at (Exim manual, "ACL conditions"). */
import { parseAddressText, splitAddresses } from '../expand/address-text.ts';
import type { Address, Domain, LocalPart } from '../mail/address.ts';
import { headerBody, type HeaderField } from '../mail/headers.ts';
import { addressFault } from './header-syntax.ts';
import { lowerAscii } from '../mail/local-part.ts';

/** In the order in which Exim looks at them. */
const senderFields = ['sender', 'reply-to', 'from'];

/** Addresses of a message are looked at up to this number. */
const maxSenders = 100;

/** Every sender that the header names, or what is wrong with one that cannot be read. */
export function* headerSenders(
  fields: readonly HeaderField[],
): Generator<{ readonly address: Address } | { readonly fault: string }> {
  let count = 0;
  for (const name of senderFields)
    for (const field of fields) {
      if (lowerAscii(field.name) !== name) continue;
      for (const item of splitAddresses(headerBody(field))) {
        if (++count > maxSenders) return;
        const found = parseAddressText(item);
        if (found === undefined) {
          const text = item.trim().replace(/\s+/g, ' ').slice(0, 1024);
          yield {
            fault: `syntax error in '${field.name}:' header when scanning for sender: ${addressFault(item)} in "${text}"`,
          };
          return;
        }
        // Without a domain nobody can be written to.
        if (found.domain !== '')
          yield { address: { local: found.local as LocalPart, domain: found.domain as Domain } };
      }
    }
}

/** The first header line whose name has other than printable ASCII. */
export function headerNameFault(fields: readonly HeaderField[]): string | undefined {
  // A name that is none is not kept as one.
  const names = fields.map(({ name, raw }) =>
    name === '' ? raw.slice(0, Math.max(0, raw.indexOf(':'))) : name,
  );
  const bad = names.find((name) => /[^!-~]/.test(name));
  return bad === undefined ? undefined : `Invalid character in header "${bad}" found`;
}

/** A recipient that neither To nor Cc nor their Resent forms name. */
export function blindFault(
  fields: readonly HeaderField[],
  recipients: readonly Address[],
  caseless: boolean,
): string | undefined {
  const key = (local: string, domain: string): string =>
    `${caseless ? lowerAscii(local) : local}@${lowerAscii(domain)}`;
  const named = new Set<string>();
  for (const field of fields) {
    if (!/^(?:resent-)?(?:to|cc)$/i.test(field.name)) continue;
    for (const item of splitAddresses(headerBody(field))) {
      const found = parseAddressText(item);
      if (found !== undefined) named.add(key(found.local, found.domain));
    }
  }
  return recipients.every((r) => named.has(key(r.local, r.domain))) ? undefined : 'bcc recipient detected';
}
