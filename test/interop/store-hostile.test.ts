// Clients that lie, flood and probe, against the store as an administrator starts it (`mailchute store`): it keeps little, writes
// nowhere but in mailboxes, and serves a good client all the time.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { storesSection } from '../support/configurations.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { root } from '../support/mailchute.ts';
import { maildirMessages } from '../support/maildir.ts';
import { freePort, start, temporaryFolder, until, type Running } from '../support/process.ts';

const users = ['good', 'alice', 'bob'];
/** Users that no administrator should have, but one has. */
const badUsers = ['..', '.', '-x'];
const maxConnections = 1500;
const maxRecipients = 10_000;
/** Of the whole process, KiB: some 100 MiB are Node itself, 96 MiB its young generation (bin/launch). */
const mostResidentKiB = 384 * 1024;

describe('a store under hostile clients', () => {
  const folder = temporaryFolder('store-hostile');
  const address = { port: 0, socket: path.join(folder.path, 'lmtp') };
  let store: Running;
  let peakKiB = 0;
  let sampler: NodeJS.Timeout;
  let good: ReturnType<typeof goodClient>;
  let namesBefore: string[];

  before(async () => {
    address.port = await freePort();
    mkdirSync(path.join(folder.path, 'mail'));
    writeFileSync(
      path.join(folder.path, 'users'),
      [...users, ...badUsers].map((u) => `${u}:{PLAIN}x:::::\n`).join(''),
    );
    const file = path.join(folder.path, 'store.conf');
    writeFileSync(
      file,
      `primary_hostname = mx.example.test
spool_directory = ${folder.path}/spool
log_file_path = ${folder.path}/log/%slog
pid_file_path = ${folder.path}/pid
${storesSection(
  address,
  folder.path,
  `        max_connections = ${maxConnections}
        message_size_limit = 1M
        lmtp_save_to_detail_mailbox
        lda_mailbox_autocreate
`,
)}`,
    );
    store = start(path.join(root, 'bin/mailchute'), ['store', file]);
    await store.printed(/^ready$/m);
    good = goodClient();
    await until(() => good.sent() > 0, 'the good client has sent');
    namesBefore = names();
    sampler = setInterval(() => {
      peakKiB = Math.max(peakKiB, residentKiB());
    }, 20);
  });
  after(async () => {
    clearInterval(sampler);
    await good?.stop();
    await store?.stop();
    folder.remove();
  });
  /** Of the hostile clients. */
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  function residentKiB(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${store.pid}/status`, 'latin1'))?.[1]);
  }

  /** All that is in the folder but for logs and the mailboxes of users that exist. */
  function names(): string[] {
    return readdirSync(folder.path, { recursive: true, encoding: 'utf8' })
      .filter((name) => !/^log\/|^mail\/(?:good|alice|bob)(?:\/|$)/.test(name))
      .sort();
  }

  /** Delivers without pause, by a kept TCP connection and by a new connection to the socket each time; each must be saved. */
  function goodClient(): { sent(): number; stop(): Promise<void> } {
    let count = 0;
    let stopping = false;
    const deliver = async (talk: Awaited<ReturnType<typeof lmtpTalk>>): Promise<void> => {
      const { data } = await talk.deliver(['<good@example.test>'], `Subject: good ${count}\r\n\r\nbody\r\n`);
      assert.match(data[0] ?? 'closed', /^250 2\.0\.0 <good@example\.test> \S+ Saved$/);
      count++;
    };
    const kept = async (): Promise<void> => {
      const talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port: address.port });
      while (!stopping) await deliver(talk);
      await talk.close();
    };
    const fresh = async (): Promise<void> => {
      while (!stopping) {
        const talk = await lmtpTalk(address.socket);
        await deliver(talk);
        await talk.close();
      }
    };
    const both = Promise.all([kept(), fresh()]);
    both.catch(() => undefined);
    return {
      sent: () => count,
      async stop() {
        stopping = true;
        await both;
      },
    };
  }

  /** What a hostile client did must leave the good one served: it sends once more by each way after it. */
  async function stillServed(): Promise<void> {
    const goal = good.sent() + 4;
    await until(
      () => good.sent() >= goal,
      () => `the good client is served (${store.output()})`,
    );
    assert.ok(peakKiB < mostResidentKiB, `${peakKiB} KiB resident`);
  }

  async function greeted(): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: address.port, noDelay: true });
    sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'data');
    socket.write('LHLO hostile.test\r\n');
    await once(socket, 'data');
    return socket;
  }

  /** Writes parts as fast as they are taken; gives up where nothing is taken for `patienceMs`. Says how many were. */
  async function pour(socket: Socket, part: Buffer, times: number, patienceMs = 10_000): Promise<number> {
    for (let i = 0; i < times; i++)
      if (!socket.write(part)) {
        const signal = AbortSignal.timeout(patienceMs);
        const taken = await once(socket, 'drain', { signal }).then(
          () => true,
          () => false,
        );
        if (!taken) return i;
      }
    return times;
  }

  /** Counts reply lines as they come, by their code. */
  function replyCodes(socket: Socket): Map<string, number> {
    const codes = new Map<string, number>();
    let tail = '';
    socket.on('data', (chunk: Buffer) => {
      const lines = (tail + chunk.toString('latin1')).split('\r\n');
      tail = lines.pop() ?? '';
      for (const line of lines) codes.set(line.slice(0, 9), (codes.get(line.slice(0, 9)) ?? 0) + 1);
    });
    return codes;
  }

  test('a command of 10 MB, from ten at once', async () => {
    const part = Buffer.alloc(65_536, 'x');
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = await greeted();
        const codes = replyCodes(socket);
        assert.equal(await pour(socket, part, 160), 160);
        socket.write('\r\n');
        await until(
          () => codes.get('500 5.5.2') === 1,
          () => JSON.stringify([...codes]),
        );
      }),
    );
    await stillServed();
  });

  test('a million RCPTs', async () => {
    const socket = await greeted();
    const codes = replyCodes(socket);
    socket.write('MAIL FROM:<a@example.test>\r\n');
    const some = Buffer.from('RCPT TO:<alice@example.test>\r\n'.repeat(1000));
    assert.equal(await pour(socket, some, 1000), 1000);
    const all = (): number => [...codes.values()].reduce((a, b) => a + b, 0);
    await until(
      () => all() === 1_000_001,
      () => JSON.stringify([...codes]),
      60_000,
    );
    assert.equal(codes.get('250 2.1.5'), maxRecipients);
    assert.equal(codes.get('451 4.5.3'), 1_000_000 - maxRecipients);
    await stillServed();
  });

  test('clients that never read their replies are read no further themselves', async () => {
    const commands = Buffer.from('NOOP\r\n'.repeat(10_000));
    const deaf = await Promise.all(Array.from({ length: 10 }, greeted));
    for (const socket of deaf) socket.pause();
    const taken = await Promise.all(deaf.map((socket) => pour(socket, commands, 2000, 1000)));
    for (const parts of taken) assert.ok(parts < 2000, `${parts} of 2000 parts taken`);
    await stillServed();
  });

  test('BDAT that lies', async () => {
    const envelope = 'MAIL FROM:<a@example.test>\r\nRCPT TO:<bob@example.test>\r\n';
    const sizes = [
      '9223372036854775807',
      '18446744073709551616',
      '-1',
      '999999999',
      '100',
      '1048577',
      '0x10',
      '',
    ];
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const socket = await greeted();
        const codes = replyCodes(socket);
        socket.write(`${envelope}BDAT ${sizes[i % sizes.length]} LAST\r\nSubject: lie\r\n\r\n`);
        await until(() => codes.get('250 2.1.5') === 1, 'it answers');
        // A part pours on beyond the size limit, the others leave in the middle.
        if (i % 20 === 3) await pour(socket, Buffer.alloc(65_536, 'x'), 100, 1000);
        if (i % 2 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }),
    );
    await stillServed();
    assert.deepEqual(maildirMessages(path.join(folder.path, 'mail/bob')), []);
  });

  test('paths in addresses: nothing is written but in mailboxes', async () => {
    const locals = [
      '..',
      '.',
      '".."',
      '"."',
      '-x',
      '../x',
      '"../../x"',
      '/etc/x',
      '"/tmp/x"',
      'alice/../../x',
      '"alice/../x"',
      '~root',
      '%u',
      '${run{/bin/sh}}',
      '|/bin/sh',
      '"alice\\/.."',
      '"alice\0"',
    ];
    const details = [
      '../../x',
      '..',
      '.',
      '/',
      '/etc/x',
      '..%2fx',
      'a/../../x',
      '.a',
      'a.',
      'a..b',
      '~',
      '~root/x',
      '%u',
      'x'.repeat(300),
      'a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v',
      'INBOX',
      'inbox/../x',
      '\xff\xfe',
      'tmp',
      'new',
      'cur',
      'dovecot-uidlist',
    ];
    const talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port: address.port }, '../../x');
    const content = 'Subject: path\r\nMessage-ID: <../../x@b.example>\r\n\r\nbody\r\n';
    for (const local of locals) {
      const { rcpt, data } = await talk.deliver(
        [`<${local}@example.test>`],
        content,
        '<"../../x"@b.example>',
      );
      // A name that begins with a hyphen is a name.
      const fits = local === '-x' ? /^250 / : /^[45]/;
      for (const reply of data) assert.match(reply, fits, `${local}: ${rcpt[0]}`);
      assert.equal(data.length, 1, local);
    }
    for (const detail of details)
      for (const to of [`alice+${detail}`, `"alice+${detail}"`]) {
        const { rcpt, data } = await talk.deliver([`<${to}@example.test>`], content);
        for (const reply of [...rcpt, ...data]) assert.match(reply, /^(?:250|4\d\d|5\d\d)/, to);
      }
    await talk.close();
    const outside = names().filter((name) => !namesBefore.includes(name));
    assert.deepEqual(
      outside.filter((name) => !/^mail\/-x(?:\/|$)/.test(name)),
      [],
    );
    for (const entry of readdirSync(path.join(folder.path, 'mail/alice'), {
      recursive: true,
      withFileTypes: true,
    })) {
      assert.ok(!entry.isSymbolicLink());
      const folderName = path.relative(path.join(folder.path, 'mail/alice'), entry.parentPath);
      assert.match(folderName, /^(?:|[^/]+|(?:[^/]+\/)?(?:new|cur|tmp))$/);
    }
    await stillServed();
  });

  test('thousands of connections', async () => {
    const said = new Map<string, number>();
    for (let i = 0; i < 15; i++)
      await Promise.all(
        Array.from({ length: 200 }, async () => {
          const socket = connect({ host: '127.0.0.1', port: address.port });
          sockets.push(socket);
          socket.on('error', () => undefined);
          const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [unknown];
          const code = Buffer.isBuffer(chunk) ? chunk.toString('latin1').slice(0, 3) : 'closed';
          said.set(code, (said.get(code) ?? 0) + 1);
        }),
      );
    // The good client's own connection is one of those that fit.
    assert.deepEqual(Object.fromEntries(said), { 220: maxConnections - 1, 421: 3000 - maxConnections + 1 });
    for (const [i, socket] of sockets.entries()) if (i % 2 === 0) socket.write('LHLO x\r\nMAIL FROM:<a@b.c');
    await stillServed();
    for (const socket of sockets) socket.destroy();
    await until(async () => {
      const socket = connect({ host: '127.0.0.1', port: address.port });
      socket.on('error', () => undefined);
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return chunk.toString('latin1').startsWith('220');
    }, 'there is room again');
  });

  test('the good client lost nothing, and nobody else left anything of his', async (t) => {
    await good.stop();
    const got = maildirMessages(path.join(folder.path, 'mail/good')).map(
      (text) => /^Subject: good (\d+)$/m.exec(text)?.[1],
    );
    assert.equal(got.length, good.sent());
    assert.ok(good.sent() > 20, `${good.sent()}`);
    assert.deepEqual(readdirSync(path.join(folder.path, 'mail/good/tmp')), []);
    assert.deepEqual(
      names().filter((name) => name.startsWith('spool/') && !namesBefore.includes(name)),
      [],
      'no temporary file stays',
    );
    t.diagnostic(`${good.sent()} good messages; ${Math.round(peakKiB / 1024)} MiB resident at most`);
    store.kill('SIGTERM');
    assert.equal(await store.ended, 0);
  });
});
