/**
 * Our edge in front of stores that break the rules of LMTP in every way, over both links: what became of each recipient is
 * known by the position of its reply, and by nothing else. A second attempt, which the store answers well, must carry
 * exactly those who got no answer or a temporary one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { retrySection } from '../support/configurations.ts';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { type Act, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { smtpTalk, submit } from '../support/smtp-talk.ts';
import {
  contentCases,
  type Dialect,
  dialectNames,
  dialects,
  envelopeCases,
  type FaultyCase,
  type Fate,
  type Link,
  links,
  nonsense,
  recipientCount,
  scriptAt,
  slowNonsense,
  type Stage,
  stages,
  taking,
} from './faulty-replies.ts';

interface Run extends FaultyCase {
  readonly link: Link;
  readonly dialect: Dialect;
  /** The case's own domain, so that all may run at once. */
  readonly domain: string;
}

const runs: Run[] = [];
for (const c of [...contentCases, ...envelopeCases])
  for (const link of c.links ?? links)
    for (const dialect of c.dialects ?? dialectNames)
      runs.push({ ...c, link, dialect, domain: `d${runs.length}.test` });

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

/**
 * Six recipients in one transaction. The second differs from the first in case only, the third is the very same address
 * on the wire once its suffix is off, the fourth and fifth come by another router.
 */
function recipientsOf(domain: string): readonly { readonly address: string; readonly wire: string }[] {
  return [
    { address: `anna@${domain}`, wire: `anna@${domain}` },
    { address: `Anna@${domain}`, wire: `Anna@${domain}` },
    { address: `anna+list@${domain}`, wire: `anna@${domain}` },
    { address: `anna@also.${domain}`, wire: `anna@also.${domain}` },
    { address: `ANNA@also.${domain}`, wire: `ANNA@also.${domain}` },
    { address: `bert@${domain}`, wire: `bert@${domain}` },
  ];
}

const folder = temporaryFolder('faulty-store');
const stores = new Map<string, ScriptedServer>();
let port = 0;
let edge: Mailchute;
let bounces: ScriptedServer;

const storeOf = (domain: string): ScriptedServer => {
  const store = stores.get(domain);
  assert.ok(store !== undefined);
  return store;
};

before(async () => {
  bounces = await startScriptedServer({});
  for (const run of runs) {
    const well = { helo: () => dialects[run.dialect] };
    const script = { ...well, ...run.script, again: well };
    stores.set(run.domain, await startScriptedServer(script, run.link));
  }
  for (const q of questions)
    stores.set(
      q.domain,
      await startScriptedServer({ helo: () => dialects[q.dialect], ...scriptAt(q.stage, q.act, 0) }, q.link),
    );
  port = await freePort();
  const parts = [
    ...runs.map((r, i) => transportAndRouters(r.domain, `d${i}`, r.slow === true ? '2s' : '30s')),
    ...questions.map((q, i) => transportAndRouters(q.domain, `q${i}`, '30s')),
  ];
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
back:
  driver = lmtp
  socket = ${socketOf(bounces)}
${parts.map((p) => p.transport).join('')}
begin routers
back:
  driver = manualroute
  domains = back.test
  transport = back
  route_data = whatmeworry
${parts.map((p) => p.routers).join('')}
${retrySection}`,
  );
});

after(async () => {
  await edge?.stop();
  for (const store of [bounces, ...stores.values()]) await store?.[Symbol.asyncDispose]();
  folder.remove();
});

function socketOf(server: ScriptedServer): string {
  return server.endpoint.kind === 'unix' ? server.endpoint.path : '';
}

/** The page's transport over the link, with short timeouts where silence must be waited for. */
function transportAndRouters(
  domain: string,
  name: string,
  timeout: string,
): { transport: string; routers: string } {
  const { endpoint } = storeOf(domain);
  const transport =
    endpoint.kind === 'tcp'
      ? `${name}:
  driver = smtp
  protocol = lmtp
  port = ${endpoint.port}
  connect_timeout = ${timeout}
  command_timeout = ${timeout}
  data_timeout = ${timeout}
  final_timeout = ${timeout}
`
      : `${name}:
  driver = lmtp
  socket = ${socketOf(storeOf(domain))}
  batch_max = 200
  timeout = ${timeout}
`;
  const where =
    endpoint.kind === 'tcp'
      ? `  transport = ${name}
  self = send
  route_list = "* 127.0.0.1 byname"
`
      : `  transport = ${name}
  route_data = whatmeworry
`;
  const routers = `${name}:
  driver = manualroute
  domains = ${domain}
  local_part_suffix = +*
  local_part_suffix_optional
${where}${name}_also:
  driver = manualroute
  domains = also.${domain}
${where}`;
  return { transport, routers };
}

/** The recipients of each transaction that a store saw, in order. */
function transactions(store: ScriptedServer): string[][] {
  const seen: string[][] = [];
  for (const command of store.commands) {
    if (command.startsWith('MAIL ')) seen.push([]);
    const path = /^RCPT TO:<([^>]*)>/.exec(command)?.[1];
    if (path !== undefined) seen.at(-1)?.push(path);
  }
  return seen;
}

type Counts = Record<'=>' | '**' | '==', number>;

/** The log's lines about one message; the log is read once for all who ask at about the same time. */
function linesAbout(id: string): readonly string[] {
  if (Date.now() - logRead.atMs > 100) {
    const lines = edge.mainLog().split('\n');
    logRead = { atMs: Date.now(), byId: Map.groupBy(lines, (line) => line.split(' ')[2] ?? '') };
  }
  return logRead.byId.get(id) ?? [];
}

let logRead: { readonly atMs: number; readonly byId: ReadonlyMap<string, readonly string[]> } = {
  atMs: 0,
  byId: new Map(),
};

/** How often the log has each kind of line about each recipient. */
function countLines(lines: readonly string[]): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const line of lines) {
    const m = /^\S+ \S+ \S+ (=>|->|\*\*|==) (\S+)(?: <([^>]*)>)? R=/.exec(line);
    if (m === null) continue;
    const address = m[3] ?? m[2] ?? '';
    const of = counts.get(address) ?? { '=>': 0, '**': 0, '==': 0 };
    if (m[1] === '**' || m[1] === '==') of[m[1]]++;
    else of['=>']++;
    counts.set(address, of);
  }
  return counts;
}

const expectedLines: Readonly<Record<Fate, Counts>> = {
  done: { '=>': 1, '**': 0, '==': 0 },
  again: { '=>': 1, '**': 0, '==': 1 },
  failed: { '=>': 0, '**': 1, '==': 0 },
};

describe('deliveries', { concurrency: 64 }, () => {
  for (const run of runs)
    test(`${run.name} (${run.dialect}, ${run.link})`, async () => {
      const recipients = recipientsOf(run.domain);
      assert.equal(run.fates.length, recipientCount);
      assert.equal(recipients.length, recipientCount);
      const mark = `mark of ${run.domain}`;
      const filler = run.large === true ? `${'x'.repeat(78)}\r\n`.repeat(20_000) : '';
      const sent = await submit(port, {
        from: `from-${run.domain}@back.test`,
        to: recipients.map((r) => r.address),
        content: `Subject: faulty\r\n\r\n${filler}${mark}\r\n`,
      });
      assert.notEqual(sent.id, '', `${sent.to}: ${sent.reply}`);
      const store = storeOf(run.domain);
      const tail = (): string => `${store.commands.join('\n')}\n${linesAbout(sent.id).join('\n')}`;
      await until(
        () => linesAbout(sent.id).some((line) => line.endsWith(' Completed')),
        () => `${sent.id} is completed; ${tail()}`,
      );

      // The second attempt has those, and only those, who may have got nothing.
      const left = recipients.filter((_, i) => run.fates[i] === 'again').map((r) => r.wire);
      const seen = transactions(store);
      const last = seen.at(-1);
      if (left.length === 0) assert.equal(seen.length, 1, tail());
      else assert.deepEqual(last, left, tail());
      assert.ok(seen.length <= 2, tail());
      for (const transaction of seen.slice(0, -1))
        assert.deepEqual(transaction, recipients.map((r) => r.wire).slice(0, transaction.length), tail());
      const content = store.contents.at(-1)?.toString('latin1') ?? '';
      assert.ok(content.endsWith(`\r\n\r\n${filler}${mark}\r\n`), 'the content is whole');

      // One end for each, told in the log.
      const lines = countLines(linesAbout(sent.id));
      recipients.forEach((r, i) => {
        const fate = run.fates[i] ?? 'done';
        assert.deepEqual(lines.get(r.address), expectedLines[fate], `${r.address} is ${fate}; ${tail()}`);
      });

      // One bounce, about those who were refused for good.
      const failed = recipients.filter((_, i) => run.fates[i] === 'failed').map((r) => r.address);
      const reports = await until(
        () => {
          const all = reportsTo(`from-${run.domain}@back.test`);
          return all.length >= (failed.length > 0 ? 1 : 0) && all;
        },
        () => `a bounce comes; ${tail()}`,
      );
      assert.deepEqual(reports, failed.length > 0 ? [failed] : []);

      // A connection is used again only where its dialogue was in order.
      if (run.keeps !== 'perhaps')
        assert.equal(store.connections, left.length === 0 || run.keeps === true ? 1 : 2, tail());
    });
});

/** The final recipients of each bounce that came to an address. */
function reportsTo(sender: string): string[][] {
  return bounces.contents
    .map((content) => content.toString('latin1'))
    .filter((text) => text.includes(`\r\nTo: ${sender}\r\n`))
    .map((text) => [...text.matchAll(/^Final-Recipient: rfc822; ?(\S+)/gim)].map((m) => m[1] ?? ''));
}

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
