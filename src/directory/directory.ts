/** The directory port: who has a mailbox. `contract.ts` is the suite every driver must pass. */
import type { Address } from '../mail/address.ts';
import type { MailUser } from '../mail/mail-user.ts';

/** `unavailable` is always a temporary refusal (451), never "no such user". */
export type DirectoryAnswer =
  | { readonly kind: 'found'; readonly user: MailUser }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface Directory {
  /** Looks a recipient up; the detail part (`+detail`) is already taken off. */
  find(address: Address): DirectoryAnswer | Promise<DirectoryAnswer>;
  /** Names for people and for start-up messages, at most `max`; undefined where the driver cannot list. */
  list(max: number): readonly string[] | undefined;
  close(): Promise<void>;
}
