/** Files mail for `user+detail` into the folder `detail` (Dovecot's `lmtp_save_to_detail_mailbox`). */
import { folderOf } from '../mail/folder-name.ts';
import type { DeliveryFilter, FilterVerdict } from './filter.ts';
import type { StoreRecipient } from './mail-store.ts';

export interface DetailFilterOptions {
  /** One character: what parts levels of a folder's name in an address (Dovecot's namespace setting `separator`). */
  readonly separator: string;
  /** What is done where the folder is missing. Default `refuse`, which puts the message into the INBOX. */
  readonly missingFolder?: StoreRecipient['missingFolder'];
}

export function detailFilter({ separator, missingFolder = 'refuse' }: DetailFilterOptions): DeliveryFilter {
  return {
    judge({ recipient: { detail } }): FilterVerdict {
      if (detail === undefined || detail === '') return { kind: 'keep' };
      const named = folderOf(detail, separator);
      return named.kind === 'ok'
        ? { kind: 'file', folder: named.folder, missingFolder, shown: detail }
        : { kind: 'keep', failed: { folder: detail, reason: named.reason } };
    },
  };
}
