import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { askPwcheck } from './pwcheck.ts';
import { askSaslauthd } from './saslauthd.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'mailchute-password-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let servers = 0;

/** A daemon on a UNIX socket; `serve` hears of all octets that came so far. Gives what the client sent in all. */
async function daemon<T>(
  serve: (socket: Socket, heard: Buffer) => void,
  use: (file: string) => Promise<T>,
): Promise<{ readonly result: T; readonly heard: string; readonly closed: boolean }> {
  const file = path.join(folder, `s${servers++}`);
  let heard = Buffer.alloc(0);
  const closed = Promise.withResolvers<boolean>();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('close', () => closed.resolve(true));
    socket.on('data', (chunk: Buffer) => serve(socket, (heard = Buffer.concat([heard, chunk]))));
  });
  await new Promise<void>((resolve) => server.listen(file, resolve));
  try {
    const result = await use(file);
    return { result, heard: heard.toString('latin1'), closed: await closed.promise };
  } finally {
    server.close();
  }
}

const counted = (text: string): string => String.fromCharCode(text.length >> 8, text.length & 0xff) + text;
const question = { user: 'user', password: 'p\xe9ss', service: 'smtp', realm: '' };
const wholeQuestion = counted('user') + counted('p\xe9ss') + counted('smtp') + counted('');

describe('saslauthd', () => {
  const ask = (answer: (socket: Socket) => void) =>
    daemon(
      (socket, heard) => heard.length === wholeQuestion.length && answer(socket),
      (file) => askSaslauthd(file, question, 5000),
    );

  it('gets four counted strings, and its word counts', async () => {
    for (const [text, kind] of [
      ['OK', 'accepted'],
      ['OK with more', 'accepted'],
      ['NO', 'rejected'],
      ['NO "because"', 'rejected'],
    ] as const) {
      const { result, heard } = await ask((s) => s.write(counted(text), 'latin1'));
      assert.deepEqual(result, { kind });
      assert.equal(heard, wholeQuestion);
    }
  });

  it('may answer octet by octet', async () => {
    const { result } = await ask((s) => {
      s.setNoDelay();
      const octets = counted('OK yes');
      let i = 0;
      const next = (): void =>
        void (i < octets.length && s.write(octets.charAt(i++), 'latin1', () => setImmediate(next)));
      next();
    });
    assert.deepEqual(result, { kind: 'accepted' });
  });

  it('says nothing of use with an answer that is cut short, empty, too long or another word', async () => {
    for (const [text, reason] of [
      ['', /corrupted answer/],
      ['\0', /corrupted answer/],
      ['\0\x0aOK', /corrupted answer/],
      [counted('O'), /corrupted answer/],
      [`\xff\xff${'OK'.repeat(4000)}`, /corrupted answer/],
      [counted('ok'), /^ok$/],
      [counted('MAYBE'), /^MAYBE$/],
    ] as const) {
      const { result } = await ask((s) => s.end(text, 'latin1'));
      assert.equal(result.kind, 'unknown');
      assert.match('reason' in result ? result.reason : '', reason);
    }
  });

  it('is given up where it is silent, and where it is not there', async () => {
    const { result, closed } = await daemon(
      () => undefined,
      (file) => askSaslauthd(file, question, 50),
    );
    assert.match('reason' in result ? result.reason : '', /no answer in 0.05 s$/);
    assert.ok(closed, 'the connection is closed');
    assert.deepEqual(await askSaslauthd('/nonexist/mux', question), {
      kind: 'unknown',
      reason: 'cannot connect to saslauthd daemon at /nonexist/mux: No such file or directory',
    });
  });

  it('is not asked what it cannot be told whole', async () => {
    for (const password of ['secret\0more', 'x'.repeat(0x10000)])
      assert.deepEqual(await askSaslauthd('/nonexist/mux', { ...question, password }), { kind: 'rejected' });
  });
});

describe('pwcheck', () => {
  const ask = (text: string) =>
    daemon(
      (socket, heard) => heard.toString('latin1').split('\0').length === 3 && socket.end(text, 'latin1'),
      (file) => askPwcheck(file, { user: 'user', password: 'p:w' }, 5000),
    );

  it('gets two strings, and its word counts', async () => {
    for (const [text, kind] of [
      ['OK', 'accepted'],
      ['OK\n', 'accepted'],
      ['Incorrect password', 'rejected'],
      ['O', 'rejected'],
      ['ok', 'rejected'],
    ] as const) {
      const { result, heard } = await ask(text);
      assert.deepEqual(result, { kind }, text);
      assert.equal(heard, 'user\0p:w\0');
    }
  });

  it('is not taken for a word where it says none, for ever or not at all', async () => {
    assert.equal((await ask('')).result.kind, 'unknown');
    const endless = await daemon(
      (socket) => {
        const more = (): void =>
          void (socket.writable && socket.write('NO'.repeat(1000), () => setImmediate(more)));
        more();
      },
      (file) => askPwcheck(file, { user: 'u', password: 'p' }, 5000),
    );
    assert.deepEqual(endless.result, { kind: 'rejected' });
    const silent = await daemon(
      () => undefined,
      (file) => askPwcheck(file, { user: 'u', password: 'p' }, 50),
    );
    assert.equal(silent.result.kind, 'unknown');
    assert.deepEqual(await askPwcheck('/nonexist/pwcheck', { user: 'u', password: 'p' }), {
      kind: 'unknown',
      reason: 'cannot connect to pwcheck daemon',
    });
    assert.deepEqual(await askPwcheck('/nonexist/pwcheck', { user: 'u', password: 'p\0' }), {
      kind: 'rejected',
    });
  });
});
