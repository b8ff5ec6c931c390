/** Warnings that a mailbox fills (Dovecot's `quota_warning`): which one is due after a delivery. */
import { readShares, share } from './rules.ts';
import type { Read, Share } from './rules.ts';
import type { Amount } from './amount.ts';

export interface QuotaWarning {
  readonly bytes: Share;
  readonly messages: Share;
  /** The command, its words not yet taken apart or expanded. */
  readonly command: string;
}

/**
 * Reads `storage=95% /usr/local/bin/warn 95 $local_part_data`: limits as in a rule, where percentages are of the default
 * limit, then a command. Dovecot's `-` before it, for going below, is refused, since a store only adds mail.
 */
export function readQuotaWarning(text: string): Read<QuotaWarning> {
  const [, sign = '', limits = '', command = ''] = /^([+-]?)(\S+)\s+(\S[^]*)$/.exec(text) ?? [];
  if (command === '') return refused(`"${text}" has no command`);
  if (!/^["']?[/$]/.test(command)) return refused(`"${text}": the command is not an absolute path`);
  if (sign === '-')
    return refused(
      `"${text}": a store only adds mail, so nothing goes below a limit here; Dovecot's IMAP server warns then`,
    );
  const read = readShares(limits, 'threshold');
  if (read.kind === 'refused') return refused(`"${text}": ${read.reason}`);
  const { bytes = none, messages = none } = read.value;
  return { kind: 'ok', value: { bytes, messages, command } };
}

/** Never reached. */
const none: Share = { fixed: 0 };

/** The first in order whose limit the delivery reached from below: Dovecot runs no more than that one. */
export function dueWarning(
  warnings: readonly QuotaWarning[],
  limits: Amount,
  before: Amount,
  after: Amount,
): QuotaWarning | undefined {
  return warnings.find(
    (w) =>
      crossed(before.bytes, after.bytes, share(w.bytes, limits.bytes)) ||
      crossed(before.messages, after.messages, share(w.messages, limits.messages)),
  );
}

function crossed(before: number, after: number, limit: number): boolean {
  return before < limit && after >= limit;
}

function refused(reason: string): { readonly kind: 'refused'; readonly reason: string } {
  return { kind: 'refused', reason };
}
