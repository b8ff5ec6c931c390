/** The main options that hold mail back (Exim manual, `hold_domains`, `queue_domains`, `queue_only_file` and their relatives). */
import { existsSync } from 'node:fs';
import type { MainOptions } from '../../config/model.ts';
import { splitList } from '../../mail/list-text.ts';
import type { DomainTest, QueueControl } from '../../queue/queue-control.ts';
import { inList } from '../../router/preconditions.ts';

type Options = Pick<MainOptions, 'hold_domains' | 'queue_domains' | 'queue_smtp_domains' | 'queue_only_file'>;

/** @param intervalMs between queue runs; undefined where nothing is held back */
export function queueControl(o: Options, intervalMs: number): QueueControl | undefined {
  const { smtp } = queueOnlyFiles(o);
  const control: QueueControl = {
    intervalMs,
    ...domainTest('hold', o.hold_domains),
    ...domainTest('queue', o.queue_domains),
    ...domainTest('queueSmtp', o.queue_smtp_domains),
    ...(smtp.length === 0 ? {} : { queueSmtpFile: () => smtp.some(existsSync) }),
  };
  return Object.keys(control).length === 1 ? undefined : control;
}

function domainTest<K extends 'hold' | 'queue' | 'queueSmtp'>(
  name: K,
  list: string | undefined,
): Pick<QueueControl, K> | undefined {
  if (list === undefined) return undefined;
  const test: DomainTest = async (domain, scope, problem) =>
    (await inList('domain', list, domain, scope, { problem })).kind;
  return { [name]: test } as Pick<QueueControl, K>;
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
