/** Usage by counting, without a file that keeps it: `quota = count` for Maildirs. */
import { closeSync } from 'node:fs';
import type { MailUser } from '../../mail/mail-user.ts';
import { failureCode } from '../drivers/maildir/failure.ts';
import { openRoot } from '../drivers/maildir/walk.ts';
import type { MaildirUsageOptions } from './maildirsize-source.ts';
import { limitsOf } from './rules.ts';
import type { QuotaRules } from './rules.ts';
import { scanMaildir, total } from './scan.ts';
import type { CountedPart } from './scan.ts';
import { nothing } from './amount.ts';
import type { Figures, UsageSource } from './usage.ts';

const maxUsers = 1024;

/**
 * Counts virtual sizes, as Dovecot's `quota = count` does by its index, which nobody else can keep: from the names of the files (`W=`),
 * or read once where a name does not have it. Parts of the Maildir that have not changed are not read again.
 */
export function scanSource(options: MaildirUsageOptions): UsageSource {
  const { countTimeoutMs = 60_000 } = options;
  const known = new Map<string, ReadonlyMap<string, CountedPart>>();

  function remember(path: string, parts: ReadonlyMap<string, CountedPart>): void {
    known.delete(path);
    known.set(path, parts);
    for (const oldest of known.keys()) {
      if (known.size <= maxUsers) break;
      known.delete(oldest);
    }
  }

  return {
    counts: 'virtual',
    countsMessages: true,
    keeps: false,
    key: (user) => options.locate(user).path,
    kept: () => undefined,
    async count(user: MailUser, rules: QuotaRules, signal: AbortSignal): Promise<Figures> {
      const owner = options.ownerOf(user);
      const { path, layout, inbox } = options.locate(user);
      let rootFd: number;
      try {
        rootFd = openRoot(path, owner);
      } catch (error) {
        if (failureCode(error) === 'ENOENT') return { used: nothing, limits: rules.limits };
        throw error;
      }
      try {
        const scan = {
          layout,
          ...(inbox === undefined ? {} : { inbox }),
          owner,
          counts: 'virtual',
          ignored: (folder: string | undefined) => limitsOf(rules, rules.limits, folder).ignored,
          signal: AbortSignal.any([signal, AbortSignal.timeout(countTimeoutMs)]),
        } as const;
        const parts = await scanMaildir(rootFd, scan, known.get(path));
        remember(path, parts);
        return { used: total(parts), limits: rules.limits };
      } finally {
        closeSync(rootFd);
      }
    },
    add: () => undefined,
    close: () => known.clear(),
  };
}
