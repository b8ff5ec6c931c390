import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MailError } from '../../mail/mail-error.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { ContentBuffer } from './content-buffer.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-content-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const signal = new AbortController().signal;

async function all(source: MessageSource): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.open(signal)) {
    assert.ok(chunk.length <= 65_536);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

describe('ContentBuffer', () => {
  it('keeps small content in memory, one chunk without a copy', async () => {
    const content = new ContentBuffer(100, path.join(folder, 'missing'));
    const chunk = Buffer.from('hello\r\n');
    assert.equal(content.write(chunk), undefined);
    const source = content.source();
    assert.equal(source.bytes, chunk);
    await content.write(Buffer.from('more\r\n'));
    assert.equal(String(await all(content.source())), 'hello\r\nmore\r\n');
    assert.equal(content.source().size, 13);
    assert.equal((await all(new ContentBuffer(1, folder).source())).length, 0);
  });
  it('small parts do not keep the blocks alive that they came in', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const content = new ContentBuffer(200_000, folder);
    collect();
    const before = process.memoryUsage().arrayBuffers;
    const expected: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const block = Buffer.alloc(65_536, i);
      const part = block.subarray(0, 1 + (i % 97));
      expected.push(...part);
      await content.write(part);
    }
    await content.write(Buffer.alloc(20_000, 7));
    await content.write(Buffer.from('end'));
    collect();
    assert.ok(process.memoryUsage().arrayBuffers - before < 4_000_000);
    const whole = await all(content.source());
    assert.ok(
      whole.equals(Buffer.concat([Buffer.from(expected), Buffer.alloc(20_000, 7), Buffer.from('end')])),
    );
  });
  it('spills large content to a file without a name, readable many times at once', async () => {
    const content = new ContentBuffer(1_000, folder);
    const parts = Array.from({ length: 50 }, (_, i) => Buffer.alloc(7_001, i));
    for (const part of parts) await content.write(part);
    assert.deepEqual(readdirSync(folder), []);
    const source = content.source();
    assert.equal(source.bytes, undefined);
    assert.equal(source.size, 350_050);
    const whole = Buffer.concat(parts);
    for (const copy of await Promise.all([all(source), all(source), all(source)]))
      assert.ok(copy.equals(whole));
    content.discard();
    await assert.rejects(all(source), (e) => e instanceof MailError && e.code === 'CLOSED');
  });
  it('tells when there is nowhere to write', async () => {
    const content = new ContentBuffer(10, path.join(folder, 'missing'));
    await assert.rejects(
      async () => content.write(Buffer.alloc(11)),
      (e) => e instanceof MailError && e.code === 'IO',
    );
  });
  it('stops reading when told to', async () => {
    const content = new ContentBuffer(10, folder);
    await content.write(Buffer.alloc(200_000));
    const stop = new AbortController();
    let chunks = 0;
    await assert.rejects(async () => {
      for await (const chunk of content.source().open(stop.signal)) {
        chunks += Math.sign(chunk.length);
        stop.abort();
      }
    });
    assert.equal(chunks, 1);
    content.discard();
  });
});
