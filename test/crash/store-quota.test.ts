// kill -9 of our store amid deliveries to a mailbox with a quota: no message that was answered is lost, and the figures come right again.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { storesSection } from '../support/configurations.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { restartMailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder } from '../support/process.ts';

const rounds = 8;

test('killed at any moment, a store with quotas keeps what it answered for and counts what is there', async () => {
  const folder = temporaryFolder('quota-crash');
  chmodSync(folder.path, 0o755);
  const port = await freePort();
  const maildir = path.join(folder.path, 'mail/u');
  writeFileSync(path.join(folder.path, 'users'), 'u:{PLAIN}secret:::::\n');
  const section = storesSection(
    { port, socket: path.join(folder.path, 'lmtp') },
    folder.path,
    '        quota = maildir\n        quota_rule = *:storage=100M:messages=5000\n',
  );
  let store = await startMailchute(folder.path, '', section);
  const answered = new Set<string>();
  const sent = new Set<string>();
  try {
    for (let round = 0; round < rounds; round++) {
      const talks = await Promise.all(
        Array.from({ length: 6 }, () => lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port })),
      );
      let count = 0;
      // Each goes on until the store is gone; a moment of its work, not of the clock, ends the round.
      const flood = talks.map(async (talk, t) => {
        for (let i = 0; ; i++) {
          const id = `r${round}t${t}i${i}`;
          sent.add(id);
          const { ends } = await talk.transaction('s@b.example', ['u'], `Subject: ${id}\r\n\r\nx\r\n`);
          if (ends[0]?.startsWith('250') !== true) return;
          answered.add(id);
          if (++count === 20 + round * 7) store.running.kill('SIGKILL');
        }
      });
      await Promise.all(flood);
      await store.running.ended;
      await Promise.all(talks.map((talk) => talk.close()));
      store = await restartMailchute(folder.path);
    }
    const files = ['new', 'cur'].flatMap((part) =>
      readdirSync(path.join(maildir, part)).map((name) => path.join(maildir, part, name)),
    );
    const there = files.map((f) => /^Subject: (\S+)$/m.exec(readFileSync(f, 'latin1'))?.[1] ?? '');
    const doubled = there.filter((id, i) => there.indexOf(id) !== i);
    assert.deepEqual(doubled, []);
    for (const id of answered) assert.ok(there.includes(id), `${id} was answered and is not there`);
    for (const id of there) assert.ok(sent.has(id), id);

    // What a crash left uncounted is never more than was under way, and nothing is counted that is not there.
    const counted = messagesIn(maildir);
    assert.ok(
      counted <= there.length && counted >= there.length - rounds * 6,
      `${counted} of ${there.length}`,
    );
    // Counted anew, as it is every 5,120 octets of the file, all is right.
    rmSync(path.join(maildir, 'maildirsize'));
    await using talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port });
    const { ends } = await talk.transaction('s@b.example', ['u'], 'Subject: last\r\n\r\nx\r\n');
    assert.match(ends[0] ?? '', /^250/);
    assert.equal(messagesIn(maildir), there.length + 1);
    assert.deepEqual(
      readdirSync(maildir).filter((name) => name.startsWith('maildirsize')),
      ['maildirsize'],
    );
  } finally {
    await store.stop();
    folder.remove();
  }
});

function messagesIn(maildir: string): number {
  const [, ...lines] = readFileSync(path.join(maildir, 'maildirsize'), 'latin1').trimEnd().split('\n');
  return lines.reduce((n, line) => n + Number(line.split(' ')[1]), 0);
}
