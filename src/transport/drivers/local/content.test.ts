import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { MessageSource } from '../../../mail/message-source.ts';
import { localContent, type LocalFormat } from './content.ts';
import { endFrame, frame, readFrames } from './frames.ts';

const signal = new AbortController().signal;
const format: LocalFormat = { prefix: '', suffix: '', bodyOnly: false, useCrlf: false };

/** Chunks of the sizes given, over and over. */
function sourceOf(text: string, sizes: readonly number[]): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return {
    size: bytes.length,
    open: async function* () {
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] ?? 1;
        yield bytes.subarray(at, at + size);
        at += size;
      }
    },
  };
}

async function written(
  text: string,
  f: Partial<LocalFormat>,
  sizes: readonly number[] = [7],
): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of localContent(sourceOf(text, sizes), { ...format, ...f }, signal)) parts.push(part);
  return Buffer.concat(parts).toString('latin1');
}

const mark = { checkString: 'From ', escapeString: '>From ' };

test('lines of the body are marked, lines of the header are not', async () => {
  assert.equal(
    await written('From x: a\r\nB: c\r\n\r\nFrom me\r\nfrom\r\nFrom \r\n', {
      ...mark,
      prefix: 'P\n',
      suffix: 'S',
    }),
    'P\nFrom x: a\nB: c\n\n>From me\nfrom\n>From \nS',
  );
  assert.equal(await written('From me\r\nx', { ...mark, bodyOnly: true }), '>From me\nx\n');
  assert.equal(await written('\r\nFrom me\r\n', { ...mark }), '\n>From me\n');
  assert.equal(
    await written('A: b\r\n\r\nFrom x\r\n', { ...mark, useCrlf: true }),
    'A: b\r\n\r\n>From x\r\n',
  );
});

test('the same in whatever parts it comes', async () => {
  const line = fc.constantFrom('From x', 'F', '', 'From', '>From y', '\xe9', 'a\rb', 'x'.repeat(30));
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (lines, sizes, useCrlf) => {
        const text = `H: v\r\n\r\n${lines.map((l) => `${l}\r\n`).join('')}`;
        const end = useCrlf ? '\r\n' : '\n';
        const wanted = `H: v${end}${end}${lines.map((l) => (l.startsWith('From ') ? `>${l}` : l) + end).join('')}`;
        assert.equal(await written(text, { ...mark, useCrlf }, sizes), wanted);
      },
    ),
  );
});

test('a line longer than what is held comes through', async () => {
  const long = 'x'.repeat(200_001);
  const out = await written(`A: b\r\n\r\n${long}From \r\nFrom z\r\n`, mark, [65_536]);
  assert.equal(out.length, 6 + long.length + 6 + 8);
  assert.ok(out.endsWith('xFrom \n>From z\n'));
});

test('frames end with the empty one and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 11 }),
      fc.boolean(),
      async (parts, size, whole) => {
        const all = Buffer.concat([...parts.map(frame), ...(whole ? [endFrame] : [])]);
        const stream = async function* (): AsyncGenerator<Buffer> {
          for (let at = 0; at < all.length; at += size) yield all.subarray(at, at + size);
        };
        const got: Buffer[] = [];
        const read = async (): Promise<void> => {
          for await (const part of readFrames(stream())) got.push(Buffer.from(part));
        };
        if (whole) await read();
        else await assert.rejects(read(), /ended early/);
        assert.deepEqual(Buffer.concat(got), Buffer.concat(parts));
      },
    ),
  );
});
