/** What the mail of a user takes, and who knows it. */
import type { MailUser } from '../../mail/mail-user.ts';
import type { Amount } from './amount.ts';
import type { QuotaRules } from './rules.ts';

export interface Figures {
  readonly used: Amount;
  /** The limits that apply without regard to a folder. */
  readonly limits: Amount;
}

/**
 * Where the figures of a user come from. All figures of one user are asked for and changed by one caller at a time (accounts.ts);
 * other programs may change the mailbox at any moment. Every call may throw what the system says.
 */
export interface UsageSource {
  /** The same for users whose mail is counted together. */
  key(user: MailUser): string;
  /** What is known without counting; undefined where that cannot be trusted. */
  kept(user: MailUser, rules: QuotaRules): Figures | undefined;
  /** Counts all messages and keeps the result where it is of use to keep it. */
  count(user: MailUser, rules: QuotaRules, signal: AbortSignal): Promise<Figures>;
  /** Adds what was just stored to what {@link kept} gave. */
  add(user: MailUser, stored: Amount): void;
  /** What is counted of a message: its size as it lies there, or with every line ending in CRLF. */
  readonly counts: 'stored' | 'virtual';
  /** False where only octets are counted. */
  readonly countsMessages: boolean;
  /** False where every question is answered by counting. */
  readonly keeps: boolean;
  close(): void;
}
