// accepted = delivered + bounced + queued, by position, whatever transports answer and however often the queue runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { RouterSpec } from '../../test/support/routing-world.ts';
import {
  deferred,
  delivered,
  failedWith,
  openQueueWorld,
  type Message,
} from '../../test/support/queue-world.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';

const minute = 60_000;

/** One answer to one recipient; `missing` cuts the list off there, `throws` fails the whole batch. */
type Answer = 'ok' | 'no' | 'host' | 'address' | 'message' | 'missing' | 'throws';

const answers = fc.array(
  fc.constantFrom<Answer>('ok', 'ok', 'no', 'host', 'address', 'message', 'missing', 'throws'),
  { maxLength: 40 },
);
const recipient = fc.constantFrom(
  'a@one.test',
  'b@one.test',
  'a@two.test',
  'c@three.test',
  'd@sock.test',
  'zz@nowhere.test',
);
const envelopes = fc.array(fc.array(recipient, { minLength: 1, maxLength: 9 }), {
  minLength: 1,
  maxLength: 4,
});

const routers: RouterSpec[] = [
  { name: 'one', domains: 'one.test', transport: 'wide', manualroute: { routeData: '198.51.100.1' } },
  {
    name: 'two',
    domains: 'two.test',
    transport: 'wide',
    manualroute: { routeData: '198.51.100.1:198.51.100.3' },
  },
  { name: 'three', domains: 'three.test', transport: 'narrow', manualroute: { routeData: '198.51.100.4' } },
  { name: 'sock', domains: 'sock.test', transport: 'sock', manualroute: { routeData: 'whatmeworry' } },
  { name: 'back', domains: 'back.test', transport: 'back', accept: true },
];

function outcome(answer: Exclude<Answer, 'missing' | 'throws'>): RecipientOutcome {
  switch (answer) {
    case 'ok':
      return delivered;
    case 'no':
      return failedWith();
    case 'host':
    case 'address':
    case 'message':
      return deferred(answer);
  }
}

test('the ledger balances and nobody gets a message twice', async () => {
  await fc.assert(
    fc.asyncProperty(envelopes, answers, async (messages, script) => {
      let at = 0;
      /** Positions that a transport said it delivered, as `id position`: what may happen once only. */
      const taken: string[] = [];
      const bounced: string[] = [];
      const positions = new Map<QueueId, readonly string[]>();
      const deliver = (
        batch: Parameters<
          NonNullable<Parameters<typeof openQueueWorld>[0]['transports'][string]>['deliver']
        >[0],
      ): readonly RecipientOutcome[] => {
        const out: RecipientOutcome[] = [];
        for (const r of batch.recipients) {
          const answer = script[at++] ?? 'ok';
          // Thrown after an answer, it would take that answer back.
          if (answer === 'throws' && out.length === 0) throw new Error('scripted');
          if (answer === 'missing' || answer === 'throws') return out;
          out.push(outcome(answer));
          if (answer === 'ok') taken.push(`${batch.id} ${r.address.local}@${r.address.domain}`);
        }
        return out;
      };
      const world = openQueueWorld({
        routers,
        transports: {
          wide: { deliver, maxRecipients: 100 },
          narrow: { deliver, maxRecipients: 2 },
          sock: { deliver, local: true, maxRecipients: 1 },
          back: {
            local: true,
            deliver: (batch) => {
              const content = world.batches.at(-1)?.content ?? '';
              const cause = /X-Cause: (\S+)/.exec(content)?.[1] ?? '';
              for (const m of content.matchAll(/^Final-Recipient: rfc822;(\S+)\r$/gm))
                bounced.push(`${cause} ${m[1]}`);
              return batch.recipients.map(() => delivered);
            },
          },
        },
        retry: ['* * F,10m,1m'],
      });
      try {
        for (const [n, recipients] of messages.entries()) {
          const message: Partial<Message> = { recipients, content: `X-Cause: m${n}\r\n\r\nbody\r\n` };
          const entry = await world.put(message);
          positions.set(entry.id, recipients);
        }
        const names = new Map([...positions.keys()].map((id, n) => [id, `m${n}`] as const));
        for (let run = 0; run < 40; run++) {
          await world.runner.queueRun();
          const entries = await world.entries();
          const waiting = entries.filter((e) => positions.has(e.id));
          const queued = waiting.flatMap((e) =>
            e.states.flatMap((s, i) =>
              s.kind === 'pending' ? [`${names.get(e.id)} ${positions.get(e.id)?.[i]}`] : [],
            ),
          );
          assert.equal(entries.length, waiting.length, 'every bounce went out in the run that made it');
          const got = taken.map((t) => t.replace(/^\S+/, (id) => names.get(id as QueueId) ?? id));
          const accepted = [...positions].flatMap(([id, recipients]) =>
            recipients.map((r) => `${names.get(id)} ${r}`),
          );
          assert.deepEqual([...got, ...bounced, ...queued].toSorted(), accepted.toSorted());
          if (queued.length === 0) break;
          world.now += minute;
        }
        assert.deepEqual(await world.entries(), [], 'everything ends');
        const events = world.events.filter((e) => e.kind === 'delivered' && positions.has(e.id)).length;
        assert.equal(events, taken.length);
      } finally {
        await world.close();
      }
    }),
    { numRuns: 60 },
  );
});
