/** The main options that hold mail back (Exim manual, `hold_domains`, `queue_domains`, `queue_only_file` and their relatives). */
import { existsSync } from 'node:fs';
import type { MainOptions } from '../../config/model.ts';
import { splitList } from '../../mail/list-text.ts';
import type { DomainTest, QueueControl } from '../../queue/hold.ts';
import { inList } from '../../router/preconditions.ts';

type Options = Pick<MainOptions, 'hold_domains' | 'queue_domains' | 'queue_smtp_domains' | 'queue_only_file'>;

/** @param intervalMs between queue runs; undefined where nothing is held back */
export function queueControl(o: Options, intervalMs: number): QueueControl | undefined {
  const hold = domainTest(o.hold_domains);
  const queue = domainTest(o.queue_domains);
  const queueSmtp = smtpTest(o);
  if (hold === undefined && queue === undefined && queueSmtp === undefined) return undefined;
  return {
    intervalMs,
    ...(hold === undefined ? undefined : { hold }),
    ...(queue === undefined ? undefined : { queue }),
    ...(queueSmtp === undefined ? undefined : { queueSmtp }),
  };
}

function domainTest(list: string | undefined): DomainTest | undefined {
  if (list === undefined) return undefined;
  return async (domain, scope) => (await inList('domain', list, domain, scope, {})).kind;
}

/** `queue_smtp_domains`; all domains while a file that `queue_only_file` names after `smtp` is there. */
function smtpTest(o: Options): DomainTest | undefined {
  const test = domainTest(o.queue_smtp_domains);
  const { smtp } = queueOnlyFiles(o);
  if (smtp.length === 0) return test;
  return async (domain, scope) => (smtp.some(existsSync) ? 'yes' : ((await test?.(domain, scope)) ?? 'no'));
}

/** Files of `queue_only_file`: those for all mail, and those for what goes to a remote host. */
function queueOnlyFiles({ queue_only_file = '' }: Pick<Options, 'queue_only_file'>): {
  readonly all: readonly string[];
  readonly smtp: readonly string[];
} {
  const files = splitList(queue_only_file).filter((item) => item !== '');
  return {
    all: files.filter((item) => !item.startsWith('smtp')),
    smtp: files.filter((item) => item.startsWith('smtp')).map((item) => item.slice('smtp'.length)),
  };
}

/** Is mail to wait for a queue run because of a file that is there? Looked at for every message, as in Exim. */
export function queueOnlyFile(o: Pick<Options, 'queue_only_file'>): () => boolean {
  const { all } = queueOnlyFiles(o);
  return () => all.some(existsSync);
}
