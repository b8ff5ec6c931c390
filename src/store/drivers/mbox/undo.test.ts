import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { mboxMessages } from '../../../../test/support/mbox.ts';
import { deliveryTo, memoryContent } from '../../contract.ts';
import { noDurability } from '../maildir/durability.ts';
import { openFolder } from './folder.ts';
import { openMboxStore } from './mbox.ts';
import { openUndo } from './undo.ts';

const never = new AbortController().signal;
const alice = { username: 'alice', extra: {} };

interface Crashed {
  readonly file: string;
  /** What a mailbox holds after one more delivery. */
  deliver(): Promise<string>;
}

/**
 * A mailbox with `old` in it, onto which `part` was being appended when the process died.
 * @param noted how the message begins by the note
 */
async function crashed(
  old: string,
  part: string,
  noted: string,
  run: (crash: Crashed) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(path.join(os.tmpdir(), 'mbox-undo-'));
  try {
    const file = path.join(root, 'alice');
    writeFileSync(file, old, { encoding: 'latin1', mode: 0o600 });
    const folder = await openFolder(root, undefined, false, noDurability);
    const undo = openUndo(folder, 'alice', undefined);
    undo.note(100, Buffer.from('x'.repeat(3000)));
    undo.note(old.length, Buffer.from(noted, 'latin1'));
    undo.close(false);
    folder.close();
    appendFileSync(file, part, 'latin1');
    await run({
      file,
      async deliver() {
        const store = openMboxStore({ locate: () => ({ inbox: file }) });
        const to = deliveryTo([alice], memoryContent('Subject: new\r\n\r\nnew\r\n'));
        assert.deepEqual(await store.deliver(to, never), [{ kind: 'stored' }]);
        await store.close();
        assert.deepEqual(readdirSync(root), ['alice'], 'nothing stays beside the mailbox');
        return readFileSync(file, 'latin1');
      },
    });
  } finally {
    rmSync(root, { recursive: true });
  }
}

const separator = 'From carol@example.test  Thu Nov 26 17:56:49 2026\n';
const field = (n: string): string => `Content-Length: ${n.padEnd(15)}\n`;
const old = `${separator}Subject: old\n${field('4')}\nold\n\n`;
const head = `${separator}Trace: 0\n`;
const body = 'half\n\nFrom me\nof it\n';
const message = `${head}Subject: half\n${field(String(body.length))}\n${body}\n`;
const oldText = 'Subject: old\n\nold\n';
const newText = 'Trace: 0\nSubject: new\n\nnew\n';

test('an incomplete message is cut off, wherever it ends; a whole one stays', async () => {
  for (const before of [old, '', old + old])
    for (let end = 0; end <= message.length; end++)
      await crashed(before, message.slice(0, end), head, async (c) => {
        const found = mboxMessages(await c.deliver());
        const whole = end === message.length ? [`Trace: 0\nSubject: half\n\n${body}`] : [];
        const olds = before
          .split('Subject: old')
          .slice(1)
          .map(() => oldText);
        assert.deepEqual(found, [...olds, ...whole, newText], `cut at ${end}`);
      });
});

test('a message whose length was not filled in yet is incomplete', () =>
  crashed(
    old,
    message.replace(/Length: \d+/, (s) => s.replace(/\d/g, ' ')),
    head,
    async (c) => {
      assert.deepEqual(mboxMessages(await c.deliver()), [oldText, newText]);
    },
  ));

test('nothing is cut off after which somebody else has written', () =>
  crashed(old, `${message.slice(0, -20)}\n\n${old}`, head, async (c) => {
    const text = await c.deliver();
    assert.ok(text.startsWith(`${old}${message.slice(0, -20)}\n\n${old}From MAILER-DAEMON  `), text);
  }));

test('nothing is cut off that a mail program has taken for a message', () => {
  const taken = message.slice(0, -20).replace(/(Content-Length.*\n)/, '$1X-UID: 7\n');
  return crashed(old, taken, head, async (c) => {
    const text = await c.deliver();
    assert.ok(text.startsWith(`${old}${taken}\n\nFrom MAILER-DAEMON  `), text);
  });
});

test('nothing is cut off that is not what was noted, or where the note is broken', async () => {
  const part = message.slice(0, -20);
  await crashed(old, part, head.replace('carol', 'dave'), async (c) => {
    assert.ok((await c.deliver()).startsWith(old + part));
  });
  for (const broken of ['', 'garbage', '0'.repeat(33)])
    await crashed(old, part, head, async (c) => {
      writeFileSync(path.join(path.dirname(c.file), '.alice.mailchute.lock'), broken);
      assert.ok((await c.deliver()).startsWith(old + part));
    });
});

test('a mailbox that has become shorter since is left as it is', () =>
  crashed(old + old, '', head, async (c) => {
    writeFileSync(c.file, old, 'latin1');
    assert.deepEqual(mboxMessages(await c.deliver()), [oldText, newText]);
  }));

test('what stands before the new message ends in an empty line', async () => {
  for (const cut of [1, 2])
    await crashed(old.slice(0, -cut), '', head, async (c) => {
      assert.deepEqual(mboxMessages(await c.deliver()), [oldText, newText]);
    });
});
