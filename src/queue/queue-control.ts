/** Domains whose mail waits (Exim manual, `hold_domains`, `queue_domains`, `queue_smtp_domains`). */
import type { ExpandScope } from '../expand/scope.ts';

/** Is a domain in a list? `defer`: its lookup could not be made now, and `problem` was told why. */
export type DomainTest = (
  domain: string,
  scope: ExpandScope,
  problem: (text: string) => void,
) => Promise<'yes' | 'no' | 'defer'>;

export interface QueueControl {
  /** `hold_domains`. */
  readonly hold?: DomainTest;
  /** `queue_domains`. */
  readonly queue?: DomainTest;
  /** `queue_smtp_domains`. */
  readonly queueSmtp?: DomainTest;
  /** `queue_only_file`: a file is there that makes mail for remote hosts wait. */
  readonly queueSmtpFile?: () => boolean;
  /** How long what waits for a queue run waits where none is asked for. */
  readonly intervalMs: number;
}
