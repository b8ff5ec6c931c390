/** What holds for one user, and what a store with quotas is made of. */
import type { Awaitable } from '../../mail/awaitable.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { Accounts } from './accounts.ts';
import type { QuotaRules } from './rules.ts';
import type { Amount } from './amount.ts';
import type { UsageSource } from './usage.ts';
import type { QuotaWarning } from './warnings.ts';

export interface QuotaPolicy {
  readonly rules: QuotaRules;
  readonly source: UsageSource;
  /** False: mail is counted and never refused (Dovecot's `noenforcing`). */
  readonly enforced: boolean;
  readonly warnings: readonly QuotaWarning[];
  /** No single message may be larger, octets with CRLF; 0 for no limit. */
  readonly maxMailBytes: number;
  /** What a sender is told whose message does not fit. */
  readonly exceededText: string;
}

export type PolicyAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'policy'; readonly policy: QuotaPolicy }
  /** Rules that cannot be read or expanded; the reason is for the log. */
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface QuotaOptions {
  readonly policyOf: (user: MailUser) => Awaitable<PolicyAnswer>;
  /** Shared by all stores that can deliver to the same users. */
  readonly accounts: Accounts;
  /** Told once of each limit that a delivery reached; must not throw or wait. */
  readonly onWarning: (user: MailUser, warning: QuotaWarning, used: Amount) => void;
  /** What could not be counted of a message that is stored; the sender is not told. */
  readonly onProblem: (text: string) => void;
}

/** Dovecot's own words. */
export const tooLargeText = 'Mail size is larger than the maximum size allowed by server configuration';
