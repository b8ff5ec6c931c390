/** What becomes of messages on their way into mailboxes, by a store's options. */
import type { StoreInstance } from '../../config/model.ts';
import { detailFilter } from '../../store/detail-filter.ts';
import type { StoreHandlerOptions } from '../../store/lmtp-handler.ts';

type DeliveryOptions = Pick<
  StoreHandlerOptions,
  'deliveryAddress' | 'addReceived' | 'userConcurrencyLimit' | 'filter'
>;

export function deliveryOptions(instance: StoreInstance): DeliveryOptions {
  const o = instance.options;
  const common = {
    deliveryAddress: o.lmtp_hdr_delivery_address,
    addReceived: o.lmtp_add_received_header,
    userConcurrencyLimit: o.lmtp_user_concurrency_limit,
  };
  if (!o.lmtp_save_to_detail_mailbox) return common;
  const create = o.lda_mailbox_autosubscribe ? 'create-and-subscribe' : 'create';
  return {
    ...common,
    filter: detailFilter({
      separator: o.hierarchy_separator ?? (inFolders(instance) ? '/' : '.'),
      missingFolder: o.lda_mailbox_autocreate ? create : 'refuse',
    }),
  };
}

/** Whether folders lie in folders, so that names may have dots. */
function inFolders(instance: StoreInstance): boolean {
  return instance.driver === 'mbox' || instance.options.maildir_layout === 'fs';
}
