/** `user+detail` addresses: Dovecot's `recipient_delimiter`, a set of characters of which the first to occur parts the two. */
import type { Address, LocalPart } from '../mail/address.ts';
import { quoteLocalPart, unquoteLocalPart } from '../mail/local-part.ts';

export interface SplitAddress {
  /** What is looked up in the directory. */
  readonly base: Address;
  /** Absent where there is no delimiter; empty for `user+`. */
  readonly detail?: string;
}

/** A delimiter at the very beginning parts too, as in Dovecot: `+x` is a detail of the user without a name, whom nobody knows. */
export function splitDetail(address: Address, delimiters: string): SplitAddress {
  const name = unquoteLocalPart(address.local);
  for (let i = 0; i < name.length; i++) {
    if (!delimiters.includes(name.charAt(i))) continue;
    return {
      base: { local: quoteLocalPart(name.slice(0, i)) as LocalPart, domain: address.domain },
      detail: name.slice(i + 1),
    };
  }
  return { base: address };
}
