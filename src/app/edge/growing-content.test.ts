import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MessageSource } from '../../mail/message-source.ts';
import { growingContent } from './growing-content.ts';

const limits = { behindOctets: 100, firstReaderMs: 60_000, laggardMs: 60_000 };
const octets = (text: string): Buffer => Buffer.from(text, 'latin1');
const never = new AbortController().signal;

async function readAll(source: MessageSource, signal = never): Promise<string> {
  let text = '';
  for await (const chunk of source.open(signal)) text += Buffer.from(chunk).toString('latin1');
  return text;
}

function wholeOf(text: string): MessageSource {
  return {
    size: text.length,
    async *open() {
      yield octets(text);
    },
  };
}

/** Whether the promise is still open after the turn of the event loop. */
async function isOpen(promise: void | Promise<void>): Promise<boolean> {
  const open = Symbol('open');
  const later = new Promise((resolve) => setImmediate(resolve, open));
  return (await Promise.race([Promise.resolve(promise), later])) === open;
}

describe('content that is handed on while it arrives', () => {
  test('readers that begin early, while some has come, and when all has come read the same', async () => {
    const content = growingContent(octets('a'), 0, limits);
    const early = readAll(content.source);
    await content.write(octets('b'));
    const later = readAll(content.source);
    await content.write(octets('c'));
    content.finish(wholeOf('abc'));
    assert.equal(await content.complete, true);
    assert.deepEqual(await Promise.all([early, later, readAll(content.source)]), ['abc', 'abc', 'abc']);
  });

  test('the sender waits for the first reader, and one that only looks at the beginning is none', async () => {
    const content = growingContent(octets('a'.repeat(90)), 0, limits);
    for await (const _ of content.source.open(never)) break;
    const held = content.write(octets('b'.repeat(20)));
    assert.ok(await isOpen(held));
    const reader = readAll(content.source);
    await held;
    content.finish(wholeOf(''));
    assert.equal((await reader).length, 110);
  });

  test('it waits for that no longer than it may; the whole is read then', async () => {
    const content = growingContent(octets('a'.repeat(90)), 0, { ...limits, firstReaderMs: 1 });
    await content.write(octets('b'.repeat(20)));
    const late = readAll(content.source);
    await content.write(octets('c'));
    content.finish(wholeOf('whole'));
    assert.equal(await late, 'whole');
  });

  test('nor where nobody will read it', async () => {
    const content = growingContent(octets('a'.repeat(90)), 0, limits);
    const held = content.write(octets('b'.repeat(20)));
    content.unread();
    await held;
    assert.equal(await isOpen(content.write(octets('c'.repeat(200)))), false);
  });

  test('a reader that is behind holds the sender back, and fails when that takes too long; the others read on', async () => {
    const content = growingContent(octets('a'), 0, { ...limits, laggardMs: 5 });
    const laggard = content.source.open(never)[Symbol.asyncIterator]();
    await laggard.next();
    const quick = readAll(content.source);
    const held = content.write(octets('b'.repeat(200)));
    assert.ok(await isOpen(held));
    await held;
    await assert.rejects(
      (async () => {
        while ((await laggard.next()).done !== true);
      })(),
      /too slowly/,
    );
    content.finish(wholeOf(''));
    assert.equal((await quick).length, 201);
  });

  test('one that goes on in time is not lost', async () => {
    const content = growingContent(octets('a'), 0, limits);
    const reader = content.source.open(never)[Symbol.asyncIterator]();
    await reader.next();
    const held = content.write(octets('b'.repeat(200)));
    assert.ok(await isOpen(held));
    assert.equal((await reader.next()).value?.length, 200);
    await held;
    await reader.return?.();
    await content.write(octets('c'.repeat(500)));
  });

  test('a failure ends readers, those to come, and the wait of the sender', async () => {
    const content = growingContent(octets('a'), 0, limits);
    const reader = content.source.open(never)[Symbol.asyncIterator]();
    await reader.next();
    const held = content.write(octets('b'.repeat(200)));
    content.fail('gone');
    await held;
    assert.equal(await content.complete, false);
    await assert.rejects(reader.next(), { code: 'ABORTED' });
    await assert.rejects(readAll(content.source), { code: 'ABORTED' });
  });

  test('an abort ends a reader that waits for more, and one that waits for the whole', async () => {
    const stop = new AbortController();
    const content = growingContent(octets('a'), 0, { ...limits, behindOctets: 0, firstReaderMs: 1 });
    const along = readAll(content.source, stop.signal);
    await content.write(octets('b'));
    await content.write(octets('c'));
    const waiting = readAll(content.source, stop.signal);
    stop.abort();
    await assert.rejects(along, { code: 'ABORTED' });
    await assert.rejects(waiting, { code: 'ABORTED' });
  });
});
