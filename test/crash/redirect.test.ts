// A list under delivery when the process is killed: what was recorded is not sent again, the rest is.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import { type Mailchute, restartMailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { mailchuteSend } from '../support/send.ts';

/** Names of the children of the one message that are done. */
async function doneChildren(directory: string): Promise<readonly string[]> {
  const spool = openLmdbSpool({ directory, minFreeBytes: 0 });
  try {
    for await (const { states } of spool.inspect({})) {
      const [state] = states;
      if (state?.kind !== 'pending') continue;
      return Object.entries(state.children ?? {}).flatMap(([name, c]) => (c.kind === 'done' ? [name] : []));
    }
    return [];
  } finally {
    await spool.close();
  }
}

test('kill -9 in the middle of a list', async (t) => {
  const folder = temporaryFolder('redirect-crash');
  const got: string[] = [];
  let hold = true;
  let running: Mailchute | undefined;
  const ok = '250 2.0.0 ok\r\n';
  const store = await startScriptedServer(
    {
      rcpt: (to) => {
        if (hold && to.includes('slow')) return { say: '', deaf: true };
        got.push(to.replace(/[<>]/g, ''));
        return ok;
      },
    },
    'tcp',
  );
  t.after(async () => {
    await running?.kill();
    await store[Symbol.asyncDispose]();
    folder.remove();
  });
  assert.ok(store.endpoint.kind === 'tcp');
  const port = await freePort();
  const mailchute = (running = await startMailchute(
    folder.path,
    `daemon_smtp_ports = ${port}\nqualify_domain = example.test\nacl_smtp_rcpt = rcpt\ntls_advertise_hosts =\nhost_lookup =`,
    `begin acl
rcpt:
  accept
begin routers
list:
  driver = redirect
  domains = example.test
  local_parts = list
  data = one@d.test, two@d.test, slow@d.test, three@d.test, inner
inner:
  driver = redirect
  domains = example.test
  local_parts = inner
  data = two@d.test, four@d.test
out:
  driver = manualroute
  domains = d.test
  transport = store
  self = send
  route_data = 127.0.0.1
begin transports
store:
  driver = smtp
  protocol = lmtp
  port = ${store.endpoint.port}
  allow_localhost
  max_rcpt = 1
begin retry
* * F,1h,1s
`,
  ));
  const directory = path.join(mailchute.spool, 'spool');
  const sent = await mailchuteSend(folder.path, port, {
    to: ['list@example.test'],
    content: 'Subject: x\r\n\r\nhello\r\n',
  });
  assert.equal(sent.code, 0, sent.output);
  const names = ['four', 'one', 'three', 'two'].map((n) => `${n}@d.test`);
  let done: readonly string[] = [];
  await until(async () => {
    done = await doneChildren(directory);
    return done.length === names.length;
  }, 'the others are recorded while one is held up');
  assert.deepEqual([...done].sort(), names);
  await mailchute.kill();
  running = undefined;
  await store.hangUp();
  hold = false;
  const again = (running = await restartMailchute(folder.path));
  await until(() => again.mainLog().includes('Completed'), 'the message is through');
  assert.deepEqual([...got].sort(), [...names, 'slow@d.test'].sort(), 'each of them once');
});
