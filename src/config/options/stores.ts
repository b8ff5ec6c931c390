/**
 * Options of `begin stores`, the one section that Exim does not have: LMTP servers that deliver into mailboxes of this
 * machine. Written like drivers of Exim's sections.
 */
import { storeDeliveryOptions } from './store-delivery.ts';
import { storeLmtpOptions } from './store-lmtp.ts';
import { storeListenOptions } from './store-listen.ts';
import { storeProxyOptions } from './store-proxy.ts';
import { storeQuotaOptions } from './store-quota.ts';
import { storeUserOptions } from './store-users.ts';

type StoreOptions = typeof storeListenOptions &
  typeof storeUserOptions &
  typeof storeDeliveryOptions &
  typeof storeLmtpOptions &
  typeof storeProxyOptions &
  typeof storeQuotaOptions;

/** Of every store. */
export const storeOptions: StoreOptions = {
  ...storeListenOptions,
  ...storeUserOptions,
  ...storeDeliveryOptions,
  ...storeProxyOptions,
  ...storeQuotaOptions,
  ...storeLmtpOptions,
};
