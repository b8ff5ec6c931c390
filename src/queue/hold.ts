/** Mail that waits although it could be delivered (Exim manual, `hold_domains`, `queue_domains`, `queue_smtp_domains`). */
import type { ExpandScope } from '../expand/scope.ts';
import type { Address } from '../mail/address.ts';
import type { Held } from '../router/environment.ts';
import type { SpoolEntry } from '../spool/spool.ts';
import type { DeliveryContext } from './context.ts';
import { isUntried } from './outcome.ts';
import type { DomainTest } from './queue-control.ts';

/** What this delivery leaves alone. */
export interface Holds {
  /** Before an address is routed. */
  readonly unrouted?: (address: Address) => Promise<Held | undefined>;
  /** After it is routed, where its transport is a remote one. */
  readonly routed?: (address: Address) => Promise<Held | undefined>;
}

/** Exim's numbers in `defer (N)`. */
const errnos = { held: -23, listDefer: -35, queueDomain: -56, firstPass: -1, queued: 0 };

/**
 * A forced delivery holds nothing. `queue_domains` and `queue_smtp_domains` are about the delivery that begins when a
 * message comes: it is over with the first attempt of any recipient, with a queue run, or with the interval of queue runs.
 */
export function holdsFor(
  context: DeliveryContext,
  entry: SpoolEntry,
  scope: ExpandScope,
  options: { readonly force: boolean; readonly queueRun?: boolean },
): Holds {
  const { control } = context;
  if (control === undefined || options.force) return {};
  const nowMs = context.nowMs();
  const runAtMs = entry.reception.receivedAtMs + control.intervalMs;
  const first =
    options.queueRun !== true &&
    nowMs < runAtMs &&
    entry.states.every((s) => s.kind === 'done' || isUntried(s));
  const { hold, queue, queueSmtp, queueSmtpFile } = control;
  const smtpWaits = first && queueSmtpFile?.() === true;
  const problem = (text: string): void => context.emit({ kind: 'problem', id: entry.id, atMs: nowMs, text });
  const ask = async (
    test: DomainTest | undefined,
    option: string,
    domain: string,
  ): Promise<'yes' | 'no' | { readonly text: string }> => {
    const answer = test === undefined ? 'no' : await test(domain.toLowerCase(), scope, problem);
    return answer === 'defer' ? { text: `${option} lookup deferred` } : answer;
  };
  return {
    ...(hold === undefined && !(first && queue !== undefined)
      ? undefined
      : {
          async unrouted({ domain }) {
            const held = await ask(hold, 'hold_domains', domain);
            const untilMs = nowMs + control.intervalMs;
            if (held === 'yes') return { text: 'domain is held', errno: errnos.held, untilMs };
            if (held !== 'no') return { text: held.text, errno: errnos.listDefer, untilMs };
            if (!first) return undefined;
            const queued = await ask(queue, 'queue_domains', domain);
            if (queued === 'no') return undefined;
            if (queued !== 'yes') return { text: queued.text, errno: errnos.listDefer, untilMs };
            const text = 'domain is in queue_domains';
            return { text, errno: errnos.queueDomain, untilMs: runAtMs, routing: true };
          },
        }),
    ...(!first || (queueSmtp === undefined && !smtpWaits)
      ? undefined
      : {
          async routed({ domain }) {
            if (smtpWaits)
              return { text: 'SMTP delivery explicitly queued', errno: errnos.queued, untilMs: runAtMs };
            const queued = await ask(queueSmtp, 'queue_smtp_domains', domain);
            // As in Exim, a list that cannot be asked holds nothing up here.
            if (queued !== 'yes') return undefined;
            const text = 'first-pass only routing due to -odqs, queue_smtp_domains or control=queue';
            return { text, errno: errnos.firstPass, untilMs: runAtMs };
          },
        }),
  };
}
