import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { HeaderEdit } from '../mail/headers.ts';
import type { MessageSource } from '../mail/message-source.ts';
import { editContent, readStart } from './edited-content.ts';

const signal = new AbortController().signal;

/** A source in memory, or one that gives chunks of `chunk` octets only. */
function sourceOf(text: string, chunk?: number): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return {
    size: bytes.length,
    ...(chunk === undefined ? { bytes } : {}),
    open: async function* () {
      if (chunk === undefined) yield bytes;
      else for (let i = 0; i < bytes.length; i += chunk) yield bytes.subarray(i, i + chunk);
    },
  };
}

async function textOf(source: MessageSource): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.open(signal)) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  assert.equal(whole.length, source.size);
  if (source.bytes !== undefined) assert.deepEqual(Buffer.from(source.bytes), whole);
  return whole.toString('latin1');
}

const header =
  'Received: one\r\nReceived: two\r\n\tfolded\r\nSubject: s\r\nX-A: 1\r\nx-a: 2\r\nX-AB: 3\r\n\r\n';

async function edited(
  edits: readonly HeaderEdit[],
  text = `${header}body\r\n`,
  headerSize = header.length,
  chunk?: number,
): Promise<string> {
  return textOf(await editContent(sourceOf(text, chunk), headerSize, edits, signal));
}

const add = (where: 'top' | 'bottom' | 'after-received', text: string): HeaderEdit => ({
  kind: 'add',
  where,
  text,
});
const remove = (name: string): HeaderEdit => ({ kind: 'remove', name });

describe('editContent', () => {
  test('without edits the source itself comes back', async () => {
    const source = sourceOf('x');
    assert.equal(await editContent(source, 0, [], signal), source);
  });

  test('fields at the top are put in front, the last one first', async () => {
    assert.equal(
      await edited([add('top', 'A: 1\r\n'), add('top', 'B: 2\r\n')]),
      `B: 2\r\nA: 1\r\n${header}body\r\n`,
    );
  });

  test('after-received, bottom and removals', async () => {
    assert.equal(
      await edited([add('after-received', 'R: 1\r\n'), add('bottom', 'Z: 1\r\n'), remove('x-a')]),
      'Received: one\r\nReceived: two\r\n\tfolded\r\nR: 1\r\nSubject: s\r\nX-AB: 3\r\nZ: 1\r\n\r\nbody\r\n',
    );
    assert.equal(await edited([remove('X-*'), remove('received')]), 'Subject: s\r\n\r\nbody\r\n');
  });

  test('a message of header fields only, and an empty header section', async () => {
    assert.equal(await edited([add('bottom', 'B: 2\r\n')], 'A: 1\r\n', 6), 'A: 1\r\nB: 2\r\n');
    assert.equal(await edited([add('bottom', 'B: 2\r\n')], '\r\nbody', 2), 'B: 2\r\n\r\nbody');
  });

  test('gives the same in memory and in chunks, and leaves the body alone', async () => {
    const name = fc.constantFrom('Received', 'Subject', 'X-A', 'X-B');
    const field = fc.tuple(name, fc.constantFrom('v', 'v\r\n w', '\xe9')).map(([n, v]) => `${n}: ${v}\r\n`);
    const edit: fc.Arbitrary<HeaderEdit> = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        where: fc.constantFrom('top' as const, 'bottom' as const, 'after-received' as const),
        text: field,
      }),
      fc.record({ kind: fc.constant('remove' as const), name: fc.oneof(name, fc.constant('x-*')) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.array(edit, { maxLength: 5 }),
        fc.string({ unit: 'binary-ascii' }),
        fc.nat(20),
        async (fields, edits, body, n) => {
          const head = `${fields.join('')}\r\n`;
          const inMemory = await edited(edits, head + body, head.length);
          assert.equal(await edited(edits, head + body, head.length, n + 1), inMemory);
          assert.ok(inMemory.endsWith(`\r\n${body}`));
          const kept = fields.filter(
            (f) =>
              !edits.some(
                (e) =>
                  e.kind === 'remove' &&
                  (e.name === 'x-*'
                    ? f.startsWith('X-')
                    : f.toLowerCase().startsWith(`${e.name.toLowerCase()}:`)),
              ),
          );
          let from = 0;
          for (const f of kept) {
            const found = inMemory.indexOf(f, from);
            assert.ok(found >= from, 'what is not removed stays, in its order');
            from = found + f.length;
          }
        },
      ),
    );
  });
});

test('readStart reads no more than it must', async () => {
  assert.equal((await readStart(sourceOf('abcdef'), 4, signal)).toString(), 'abcd');
  assert.equal((await readStart(sourceOf('abcdef', 3), 4, signal)).toString(), 'abcd');
  assert.equal((await readStart(sourceOf('ab', 1), 9, signal)).toString(), 'ab');
});
