import type { MainOptions } from '../config/model.ts';
import type { CalloutExpiry } from '../verify/cache.ts';

/** How long callouts are remembered, by the main options `callout_..._expire`. */
export function calloutExpiry(main: MainOptions): CalloutExpiry {
  return {
    positiveMs: main.callout_positive_expire,
    negativeMs: main.callout_negative_expire,
    domainPositiveMs: main.callout_domain_positive_expire,
    domainNegativeMs: main.callout_domain_negative_expire,
  };
}
