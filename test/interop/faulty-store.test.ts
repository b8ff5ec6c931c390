// Stores that break the rules of LMTP in every way: deliveries from the spool, and callouts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { retrySection } from '../support/configurations.ts';
import { testFaultyDeliveries, transportAndRouters } from '../support/faulty-deliveries.ts';
import {
  type Dialect,
  dialects,
  type Link,
  nonsense,
  scriptAt,
  slowNonsense,
  type Stage,
  stages,
  taking,
} from '../support/faulty-replies.ts';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { type Act, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { smtpTalk } from '../support/smtp-talk.ts';

testFaultyDeliveries('spooled');

interface Question {
  readonly what: string;
  readonly act: Act;
  readonly stage: Stage;
  readonly link: Link;
  readonly dialect: Dialect;
  readonly domain: string;
}

const questions: readonly Question[] = Object.entries({
  ...nonsense,
  '354': '354 go ahead\r\n',
  ...slowNonsense,
}).flatMap(([what, act], n) =>
  stages.map((stage, m): Question => {
    const {
      links: [link],
      dialects: [dialect],
    } = taking(n, m);
    return { what, act, stage, link, dialect, domain: `q${n}-${m}.ask.test` };
  }),
);

const folder = temporaryFolder('faulty-callouts');
const stores = new Map<string, ScriptedServer>();
let port = 0;
let edge: Mailchute;

const storeOf = (domain: string): ScriptedServer => {
  const store = stores.get(domain);
  assert.ok(store !== undefined);
  return store;
};

before(async () => {
  for (const q of questions)
    stores.set(
      q.domain,
      await startScriptedServer({ helo: () => dialects[q.dialect], ...scriptAt(q.stage, q.act, 0) }, q.link),
    );
  port = await freePort();
  const parts = questions.map((q, i) => transportAndRouters(storeOf(q.domain), q.domain, `q${i}`, '30s'));
  edge = await startMailchute(
    folder.path,
    `acl_smtp_rcpt = acl_check_rcpt\nsmtp_accept_max = 200\ndaemon_smtp_ports = ${port}`,
    `begin acl
acl_check_rcpt:
  deny
    message = invalid recipient
    domains = *.ask.test
    !verify = recipient/callout=3s
  accept

begin transports
${parts.map((p) => p.transport).join('')}
begin routers
${parts.map((p) => p.routers).join('')}
${retrySection}`,
  );
});

after(async () => {
  await edge?.stop();
  for (const store of stores.values()) await store[Symbol.asyncDispose]();
  folder.remove();
});

describe('callouts', { concurrency: 64 }, () => {
  for (const q of questions)
    test(`${q.what} at ${q.stage} (${q.dialect}, ${q.link})`, async () => {
      const store = storeOf(q.domain);
      const asked = (): number => store.commands.filter((c) => c.startsWith('RCPT ')).length;
      const talk = await smtpTalk(port);
      try {
        assert.match(await talk.send('MAIL FROM:<someone@back.test>\r\n'), /^250 /);
        const known = `RCPT TO:<anna@${q.domain}>\r\n`;
        assert.match(await talk.send(known), /^451 .*Could not complete recipient verify callout/);
        assert.match(await talk.send('DATA\r\n'), /^503/);

        // Nothing of it is remembered: the store is asked again, and believed.
        store.script = {
          helo: () => dialects[q.dialect],
          rcpt: (to) => (to.startsWith('anna') ? '250 2.1.5 ok\r\n' : '550 5.1.1 unknown\r\n'),
        };
        const before = asked();
        // A place that gave no session at all is left alone for a second.
        const reply = await until(async () => {
          const answer = await talk.send(`RCPT TO:<nobody@${q.domain}>\r\n`);
          return !answer.startsWith('451') && answer;
        }, 'the store is asked again');
        assert.match(reply, /^550 .*invalid recipient/);
        assert.equal(asked(), before + 1);
        assert.match(await talk.send(known), /^250 /);
        assert.equal(asked(), before + 2);
        // And that is: the cache was on all the time. What it learns is written behind the reply.
        await until(async () => {
          const before = asked();
          assert.match(await talk.send(known), /^250 /);
          assert.match(await talk.send(`RCPT TO:<nobody@${q.domain}>\r\n`), /^550 .*invalid recipient/);
          return asked() === before;
        }, 'both answers come from the cache');
      } finally {
        talk.close();
      }
      assert.deepEqual(store.contents, []);
    });
});
