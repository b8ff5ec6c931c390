// A queue on a real spool and real hints in a temporary folder, with scripted transports and a clock that tests turn.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openLmdbHints } from '../../src/hints/drivers/lmdb.ts';
import type { Recipient, Reception } from '../../src/mail/envelope.ts';
import type { HeaderEdit } from '../../src/mail/headers.ts';
import type { RecipientOutcome } from '../../src/mail/outcome.ts';
import {
  bounceDefaults,
  type BounceOptions,
  type ConfiguredTransport,
  type DeliveryContext,
} from '../../src/queue/context.ts';
import type { DeliveryEvent } from '../../src/queue/events.ts';
import type { QueueControl } from '../../src/queue/queue-control.ts';
import { createHostGate } from '../../src/queue/host-gate.ts';
import {
  createQueueRunner,
  type QueueRunner,
  runnerDefaults,
  type RunnerOptions,
} from '../../src/queue/runner.ts';
import { parseRetryRule, type RetryRule } from '../../src/retry/rules.ts';
import { scheduleDefaults } from '../../src/retry/schedule.ts';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import type { Claim, Spool, SpoolEntry, Submission } from '../../src/spool/spool.ts';
import type { Batch } from '../../src/transport/transport.ts';
import { addressOf, configuredRouters, expandServices, mainFacts, type RouterSpec } from './routing-world.ts';

export type Script = (
  batch: Batch,
  signal: AbortSignal,
) => Promise<readonly RecipientOutcome[]> | readonly RecipientOutcome[];

export interface QueueWorldOptions {
  readonly routers: readonly RouterSpec[];
  /** By name. `local` and `maxRecipients` as the transport has them. */
  readonly transports: Readonly<
    Record<
      string,
      { readonly deliver: Script; readonly maxRecipients?: number } & Partial<
        Pick<ConfiguredTransport, 'local' | 'fallback' | 'delayAfterCutoff' | 'retryByDomain'>
      >
    >
  >;
  readonly retry: readonly string[];
  readonly bounce?: Partial<BounceOptions>;
  readonly control?: QueueControl;
  readonly retriedByName?: (transport: string) => boolean;
  readonly runner?: Partial<RunnerOptions>;
  /** Stands between the queue and the real spool. */
  readonly wrapSpool?: (spool: Spool) => Spool;
}

export interface QueueWorld {
  readonly spool: Spool;
  readonly runner: QueueRunner;
  readonly context: DeliveryContext;
  readonly events: DeliveryEvent[];
  /** Batches in the order in which transports got them, with the octets. */
  readonly batches: { readonly transport: string; readonly batch: Batch; readonly content: string }[];
  now: number;
  /** Puts a message there, unclaimed. */
  put(message: Partial<Message>): Promise<SpoolEntry>;
  /** Puts one there that is claimed by us from birth. */
  born(message: Partial<Message>): Promise<Claim>;
  entries(): Promise<SpoolEntry[]>;
  close(): Promise<void>;
}

export interface Message {
  readonly sender: string;
  readonly recipients: readonly (string | Recipient)[];
  readonly content: string;
  readonly headerEdits: readonly HeaderEdit[];
  readonly reception: Partial<Reception>;
  readonly envelope: Partial<Submission['envelope']>;
}

const signal = new AbortController().signal;

export function openQueueWorld(options: QueueWorldOptions): QueueWorld {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-queue-'));
  const real = openLmdbSpool({ directory: path.join(folder, 'spool'), minFreeBytes: 0 });
  const spool = options.wrapSpool?.(real) ?? real;
  const hints = openLmdbHints({ directory: path.join(folder, 'hints') });
  const events: DeliveryEvent[] = [];
  const batches: QueueWorld['batches'] = [];
  const world = { now: 1_764_000_000_000 };
  const transports = new Map<string, ConfiguredTransport>();
  for (const [name, script] of Object.entries(options.transports))
    transports.set(name, {
      ...(script.fallback === undefined ? {} : { fallback: script.fallback }),
      ...(script.delayAfterCutoff === undefined ? {} : { delayAfterCutoff: script.delayAfterCutoff }),
      ...(script.retryByDomain === undefined ? {} : { retryByDomain: script.retryByDomain }),
      local: script.local ?? false,
      transport: {
        name,
        maxRecipients: script.maxRecipients ?? Number.POSITIVE_INFINITY,
        calloutTarget: () => ({ kind: 'impossible', reason: 'scripted' }),
        close: async () => {},
        deliver: async (batch, abort) => {
          const chunks: Uint8Array[] = [];
          for await (const chunk of batch.message.open(abort)) chunks.push(chunk);
          batches.push({ transport: name, batch, content: Buffer.concat(chunks).toString('latin1') });
          return script.deliver(batch, abort);
        },
      },
    });
  const retryRules = options.retry.map((text, i): RetryRule => {
    const result = parseRetryRule({ text, position: { file: 'conf', line: i + 1, column: 1 } });
    if ('rule' in result) return result.rule;
    throw new Error(result.diagnostic.message);
  });
  const locals = Object.fromEntries([...transports].map(([name, t]) => [name, t.local]));
  const schedule = { ...scheduleDefaults, random: () => 0.5 };
  const context: DeliveryContext = {
    spool,
    gate: createHostGate(
      hints,
      schedule,
      (text) => events.push({ kind: 'problem', atMs: world.now, text }),
      options.retriedByName,
    ),
    routers: configuredRouters({ routers: options.routers, transports: locals }),
    transports,
    main: mainFacts,
    services: expandServices(),
    retryRules,
    schedule,
    bounce: { ...bounceDefaults, ...options.bounce },
    ...(options.control === undefined ? {} : { control: options.control }),
    maxParallelBatches: 4,
    emit: (event) => events.push(event),
    nowMs: () => world.now,
  };
  const runner = createQueueRunner({ ...runnerDefaults, ...options.runner, context });

  const commit = async (
    message: Partial<Message>,
    leaseMs: number,
  ): Promise<{ claim: Claim | undefined; id: string }> => {
    const recipients = (message.recipients ?? ['u@a.test']).map((r) =>
      typeof r === 'string' ? { address: addressOf(r) } : r,
    );
    const sender = message.sender ?? 'sender@back.test';
    const writer = await real.create(signal);
    await writer.write(
      Buffer.from(message.content ?? 'Subject: hello\r\nMessage-ID: <m@x.test>\r\n\r\nbody\r\n', 'latin1'),
    );
    const submission: Submission = {
      envelope: { sender: sender === '' ? null : addressOf(sender), recipients, ...message.envelope },
      reception: { protocol: 'esmtp', receivedAtMs: world.now, ...message.reception },
      headerEdits: message.headerEdits ?? [],
      variables: {},
    };
    const claim = await writer.commit(submission, leaseMs, world.now);
    return { claim, id: writer.id };
  };
  const entries = async (): Promise<SpoolEntry[]> => {
    const out: SpoolEntry[] = [];
    for await (const entry of real.inspect({})) out.push(entry);
    return out;
  };
  const result: QueueWorld = Object.assign(world, {
    spool,
    runner,
    context,
    events,
    batches,
    put: async (message: Partial<Message>) => {
      const { id } = await commit(message, 0);
      const entry = (await entries()).find((e) => e.id === id);
      if (entry === undefined) throw new Error('not stored');
      return entry;
    },
    born: async (message: Partial<Message>) => {
      const { claim } = await commit(message, runnerDefaults.leaseMs);
      if (claim === undefined) throw new Error('not claimed');
      return claim;
    },
    entries,
    close: async () => {
      await runner.stop(0);
      await real.close();
      await hints.close();
      rmSync(folder, { recursive: true, force: true });
    },
  });
  return result;
}

export const delivered: RecipientOutcome = {
  kind: 'delivered',
  reply: { code: 250, status: '2.0.0', lines: ['saved'] },
};

export function deferred(
  scope: 'host' | 'address' | 'message',
  text = 'Connection refused',
): RecipientOutcome {
  return { kind: 'deferred', status: { text, code: '4.4.1' }, scope };
}

export function failedWith(text = 'no such user'): RecipientOutcome {
  return {
    kind: 'failed',
    status: { text, code: '5.1.1', reply: { code: 550, status: '5.1.1', lines: [text] } },
  };
}
