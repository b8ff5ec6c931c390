import { type Address, isSyntaxError, parseAddress } from '../../mail/address.ts';

/** Addresses parted by commas; those without a domain get one, and what is malformed is left out. */
export function mailboxes(text: string, domain: string): Address[] {
  return text.split(',').flatMap((item) => {
    const word = item.trim();
    const address = word === '' ? undefined : parseAddress(word.includes('@') ? word : `${word}@${domain}`);
    return address === undefined || isSyntaxError(address) ? [] : [address];
  });
}
