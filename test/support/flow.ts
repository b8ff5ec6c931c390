// Mail that flows without pause from a few senders, and the account of what must have come of it.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { type Address, isSyntaxError, parseAddress } from '../../src/mail/address.ts';
import { replySummary } from '../../src/mail/reply.ts';
import { createSmtpPool } from '../../src/smtp/client/pool.ts';
import { readInbox } from './imap.ts';
import { until } from './process.ts';
import { letterText } from './swaks.ts';

/** What the sender was told about its letters, by subject. */
export interface Told {
  readonly accepted: string[];
  /** No answer came after the content: it may or may not have been taken. */
  readonly unanswered: string[];
  /** Refused, or cut before the content: it must not arrive. */
  readonly refused: string[];
}

/** The same, of letters whose end is known. */
export type KnownEnds = { readonly [kind in keyof Told]?: readonly string[] };

export interface Flow {
  readonly told: Told;
  /** Resolves when this many more were accepted than at the call. */
  moreAccepted(count: number): Promise<void>;
  /** Ends after the letters under way. */
  stop(): Promise<Told>;
}

/**
 * Sends letters to `users` of example.test by SMTP from `lanes` senders at a time; even lanes keep their connection, odd
 * lanes make one for each letter. A letter that found no server is tried again; `most` letters at most, then it ends.
 */
export function startFlow(
  name: string,
  port: number,
  users: readonly string[],
  lanes: number,
  most = 5000,
): Flow {
  const told: Told = { accepted: [], unanswered: [], refused: [] };
  const recipients = users.map((user) => ({ address: addressOf(`${user}@example.test`) }));
  let stopping = false;
  let left = most;

  async function lane(keep: boolean): Promise<void> {
    const pool = createSmtpPool(keep ? {} : { maxUses: 1 });
    while (!stopping && left > 0) {
      const subject = `${name}-${left--}`;
      const kind = await sendOne(pool, subject);
      if (kind !== undefined) told[kind].push(subject);
      await pause(20);
    }
    await pool.close();
  }

  /** Undefined where it was never sent, since the flow ended first. */
  async function sendOne(
    pool: ReturnType<typeof createSmtpPool>,
    subject: string,
  ): Promise<keyof Told | undefined> {
    const bytes = Buffer.from(`${letterText(subject, 'one of many').replaceAll('\n', '\r\n')}\r\n`, 'latin1');
    const content = {
      size: bytes.length,
      bytes,
      async *open() {
        yield bytes;
      },
    };
    while (!stopping) {
      const sent = await pool.send(
        { kind: 'tcp', host: '127.0.0.1', port },
        { envelope: { sender: addressOf('sender@example.test'), recipients }, content },
        { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000, finalTimeoutMs: 10_000 },
      );
      if (sent.kind === 'no-session') {
        await pause(5);
        continue;
      }
      const results = sent.result.recipients;
      if (results.every((r) => r.kind === 'accepted')) return 'accepted';
      return results.some((r) => r.kind === 'accepted' || (r.kind === 'unanswered' && r.stage === 'content'))
        ? 'unanswered'
        : 'refused';
    }
    return undefined;
  }

  const running = Array.from({ length: lanes }, (_, i) => lane(i % 2 === 0));
  return {
    told,
    async moreAccepted(count) {
      const goal = told.accepted.length + count;
      await until(
        () => told.accepted.length >= goal,
        () => `${goal} letters are accepted, not ${told.accepted.length}`,
      );
    },
    async stop() {
      stopping = true;
      await Promise.all(running);
      return told;
    },
  };
}

/** Sends `count` letters to all users and requires that each is accepted; gives their subjects. */
export async function sendLetters(
  name: string,
  port: number,
  users: readonly string[],
  count: number,
): Promise<readonly string[]> {
  const flow = startFlow(name, port, users, 4, count);
  await until(
    () => flow.told.accepted.length + flow.told.refused.length + flow.told.unanswered.length === count,
    () => `${count} letters are sent: ${JSON.stringify(flow.told)}`,
  );
  const told = await flow.stop();
  assert.deepEqual([told.refused, told.unanswered], [[], []]);
  return told.accepted;
}

/** What the edge says to RCPT, as a line. */
export async function askRcpt(port: number, from: string, to: string): Promise<string> {
  const pool = createSmtpPool();
  try {
    const edge = { kind: 'tcp', host: '127.0.0.1', port } as const;
    const asked = await pool.inquire(edge, addressOf(from), [addressOf(to)]);
    assert.ok(asked.kind !== 'no-session');
    const [answer] = asked.result.answers;
    assert.ok(answer?.kind === 'reply' && answer.stage === 'rcpt', JSON.stringify(answer));
    return replySummary(answer.reply);
  } finally {
    await pool.close();
  }
}

/** Requires of each user's INBOX: what was accepted is there once, what was refused is not, what was not answered once at most. */
export async function assertOnce(imapPort: number, users: readonly string[], told: KnownEnds): Promise<void> {
  for (const user of users) {
    const counts = new Map<string, number>();
    for (const message of await readInbox(imapPort, user)) {
      const subject = /^Subject: (\S+)\r$/m.exec(message)?.[1] ?? '';
      counts.set(subject, (counts.get(subject) ?? 0) + 1);
    }
    const wrong = (subjects: readonly string[] = [], right: (count: number) => boolean): string[] =>
      subjects.filter((s) => !right(counts.get(s) ?? 0)).map((s) => `${s}: ${counts.get(s) ?? 0}`);
    assert.deepEqual(
      wrong(told.accepted, (n) => n === 1),
      [],
      `${user}: accepted, so once`,
    );
    assert.deepEqual(
      wrong(told.refused, (n) => n === 0),
      [],
      `${user}: refused, so never`,
    );
    assert.deepEqual(
      wrong(told.unanswered, (n) => n <= 1),
      [],
      `${user}: unanswered, so once at most`,
    );
  }
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  assert.ok(!isSyntaxError(address));
  return address;
}
