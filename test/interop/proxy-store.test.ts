// A configured store that hands mail on: the entries of a passwd-file, the options, the log.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { storesSection } from '../support/configurations.ts';
import { disposed } from '../support/disposed.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { startScriptedServer } from '../support/scripted-server.ts';

test('entries of a passwd-file name the backend; a store is not handed its own mail; replies come within proxy_timeout', {
  timeout: 60_000,
}, async (t) => {
  const folder = temporaryFolder('proxy-store');
  t.after(() => folder.remove());
  const backend = disposed(
    t,
    await startScriptedServer(
      { protocol: 'lmtp', content: (i) => (i === 2 ? '' : '250 2.0.0 ok\r\n') },
      'tcp',
    ),
  );
  if (backend.endpoint.kind !== 'tcp') throw new Error('no TCP');
  const port = await freePort();
  const entry = (user: string, to: number, more = ''): string =>
    `${user}:::::::proxy=y host=127.0.0.1 port=${to}${more}\n`;
  writeFileSync(
    path.join(folder.path, 'users'),
    entry('there', backend.endpoint.port) +
      entry('renamed', backend.endpoint.port, ' destuser=other@else.test') +
      entry('late', backend.endpoint.port) +
      entry('self', port) +
      'here:::::::\n',
  );
  const address = { port, socket: path.join(folder.path, 'lmtp') };
  const more = '        proxy_timeout = 1s\n        proxy_idle_timeout = 0s\n';
  const store = await startMailchute(folder.path, '', storesSection(address, folder.path, more));
  t.after(() => store.stop());
  const talk = disposed(t, await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port }));
  const to = ['there', 'here', 'renamed+x', 'self', 'late'].map((u) => `${u}@example.test`);
  const { rcpt, ends } = await talk.transaction('s@x.test', to, 'Subject: x\r\n\r\n');
  assert.deepEqual(
    rcpt.map((r) => r.slice(0, 9)),
    ['250 2.1.5', '250 2.1.5', '250 2.1.5', '554 5.4.6', '250 2.1.5'],
  );
  assert.match(
    ends.join('\n'),
    /^250 2\.0\.0 <there@example\.test> \S+ Saved\n250 2\.0\.0 <here@example\.test> \S+ Saved\n250 2\.0\.0 <renamed\+x@example\.test> \S+ Saved\n451 4\.4\.0 <late@example\.test> Remote server not answering/,
  );
  assert.deepEqual(
    backend.commands.filter((c) => c.startsWith('RCPT')),
    ['RCPT TO:<there@example.test>', 'RCPT TO:<other+x@else.test>', 'RCPT TO:<late@example.test>'],
  );
  const log = await until(
    () => (store.mainLog().includes('4/4 at') ? store.mainLog() : undefined),
    () => store.mainLog(),
  );
  assert.match(
    log,
    /lmtp\(\d+\): Info: lmtp-server: conn 127\.0\.0\.1:\d+: rcpt there@example\.test: <\S+>: Sent message to <there@example\.test> at 127\.0\.0\.1:\d+: 250 2\.0\.0 ok \(1\/4 at \d+ ms\)/,
  );
  assert.match(
    log,
    /Error: lmtp-server: conn 127\.0\.0\.1:\d+: rcpt self@example\.test: <\S+>: Proxying to 127\.0\.0\.1:\d+ loops to itself/,
  );
  assert.match(
    log,
    /Error: lmtp-server: .* Failed to send message to <late@example\.test> at \S+: Remote server not answering: /,
  );
});
