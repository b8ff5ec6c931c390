/** The delivery filter port: what becomes of a message for one recipient before it is stored. Sieve is to be a driver of it. */
import type { ReversePath } from '../mail/address.ts';
import type { Awaitable } from '../mail/awaitable.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { StoreRecipient } from './mail-store.ts';

/** What a filter may look at. */
export interface FilteredMessage {
  readonly sender: ReversePath;
  /** Address as given, user, and detail. */
  readonly recipient: StoreRecipient;
  /** As received, without the trace fields. A filter that does not need it does not open it: then nothing is read. */
  readonly content: MessageSource;
}

export type FilterVerdict =
  /** Into the INBOX. */
  | {
      readonly kind: 'keep';
      /** A folder that was wanted and cannot be, for the log. */
      readonly failed?: { readonly folder: string; readonly reason: string };
    }
  | {
      readonly kind: 'file';
      /** As {@link StoreRecipient.folder}. Where it is missing and not to be made, or is no name, the INBOX is taken. */
      readonly folder: string;
      readonly missingFolder?: StoreRecipient['missingFolder'];
      /** The folder as logs show it; `folder` where absent. */
      readonly shown?: string;
    }
  /** Accepted and thrown away. */
  | { readonly kind: 'discard' }
  /** The client is told the text with 550 5.2.0, or 451 4.2.0 where it may try again. */
  | { readonly kind: 'refuse'; readonly text: string; readonly temporary?: boolean };

export interface DeliveryFilter {
  /** Asked once for each recipient that is to be stored. Rejecting, or throwing, puts the message off for that recipient (451). */
  judge(message: FilteredMessage, signal: AbortSignal): Awaitable<FilterVerdict>;
}
