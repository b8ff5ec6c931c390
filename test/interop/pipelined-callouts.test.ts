// Recipients that a client sends in one batch are asked about in one flight, and each gets the answer for it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { extensions, startScriptedServer } from '../support/scripted-server.ts';

test('fifty RCPTs of one batch: one flight to the store, and each reply in its place', async (t) => {
  const folder = temporaryFolder('pipelined-callouts');
  t.after(() => folder.remove());
  await using store = await startScriptedServer(
    {
      helo: () => extensions.all,
      rcpt: (p) =>
        p.startsWith('bad')
          ? '550 5.1.1 no such user\r\n'
          : p.startsWith('later')
            ? '451 busy\r\n'
            : '250 ok\r\n',
    },
    'unix',
  );
  const port = await freePort();
  const edge = await startMailchute(
    folder.path,
    `daemon_smtp_ports = ${port}\nacl_smtp_rcpt = rcpt`,
    `begin acl
rcpt:
  require verify = recipient/callout=no_cache
  accept
begin routers
all:
  driver = accept
  local_parts = ! unroutable
  transport = store
begin transports
store:
  driver = lmtp
  socket = ${store.endpoint.kind === 'unix' ? store.endpoint.path : ''}
`,
  );
  t.after(() => edge.stop());
  const names = Array.from(
    { length: 50 },
    (_, i) =>
      `${i % 7 === 3 ? 'bad' : i % 11 === 5 ? 'later' : i === 20 ? 'unroutable' : 'user'}${i === 20 ? '' : i}`,
  );
  const socket = connect({ host: '127.0.0.1', port });
  let text = '';
  socket.on('data', (d) => {
    text += d.toString('latin1');
  });
  t.after(() => socket.destroy());
  await until(() => text.includes('220 '), 'it greets');
  socket.write('EHLO client.test\r\n');
  await until(() => text.includes('250 HELP'), 'it answers');
  text = '';
  socket.write(
    `MAIL FROM:<s@in.test>\r\n${names.map((n) => `RCPT TO:<${n}@a.test>\r\n`).join('')}RSET\r\nQUIT\r\n`,
  );
  await until(
    () => text.includes('221 '),
    () => text,
  );
  const codes = text
    .split('\r\n')
    .filter((l) => /^\d{3} /.test(l))
    .map((l) => l.slice(0, 3));
  assert.deepEqual(
    codes.slice(1, 51),
    names.map((n) =>
      n.startsWith('bad') || n === 'unroutable' ? '550' : n.startsWith('later') ? '451' : '250',
    ),
  );
  const asked = store.commands.filter((c) => c.startsWith('RCPT'));
  assert.deepEqual(
    asked.toSorted(),
    names
      .filter((n) => n !== 'unroutable')
      .map((n) => `RCPT TO:<${n}@a.test>`)
      .toSorted(),
  );
  const mails = store.commands.filter((c) => c.startsWith('MAIL')).length;
  assert.ok(mails <= 2, `${mails} flights`);
});
