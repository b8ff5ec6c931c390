/**
 * Our edge in front of stores that break the rules of LMTP in every way, over both links: what became of each recipient is
 * known by the position of its reply, and by nothing else. A second attempt, which the store answers well, must carry
 * exactly those who got no answer or a temporary one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { retrySection } from './configurations.ts';
import {
  contentCases,
  type Dialect,
  dialectNames,
  dialects,
  envelopeCases,
  type Fate,
  type FaultyCase,
  type Link,
  links,
  recipientCount,
  taking,
} from './faulty-replies.ts';
import { type Mailchute, startMailchute } from './mailchute.ts';
import { freePort, temporaryFolder, until } from './process.ts';
import { type ScriptedServer, startScriptedServer } from './scripted-server.ts';
import { smtpTalk, submit } from './smtp-talk.ts';

interface Run extends FaultyCase {
  readonly link: Link;
  readonly dialect: Dialect;
  /** The case's own domain, so that all may run at once. */
  readonly domain: string;
  /** Octets in front of the content's end. */
  readonly filler: number;
}

/** More than what is handed over only when it is whole. */
const streamedOctets = 160_000;

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

/** The page's transport to a store, with short timeouts where silence must be waited for, and two routers to it. */
export function transportAndRouters(
  { endpoint }: ScriptedServer,
  domain: string,
  name: string,
  timeout: string,
): { readonly transport: string; readonly routers: string } {
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
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
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

type Counts = Record<'=>' | '**' | '==', number>;

const expectedLines: Readonly<Record<Fate, Counts>> = {
  done: { '=>': 1, '**': 0, '==': 0 },
  again: { '=>': 1, '**': 0, '==': 1 },
  failed: { '=>': 0, '**': 1, '==': 0 },
};

/** How often the log has each kind of line about each recipient. */
function countLines(lines: readonly string[]): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const line of lines) {
    const m = /^\S+ \S+ \S+ (=>|->|>>|\*\*|==) (\S+)(?: <([^>]*)>)? R=/.exec(line);
    if (m === null) continue;
    const address = m[3] ?? m[2] ?? '';
    const of = counts.get(address) ?? { '=>': 0, '**': 0, '==': 0 };
    if (m[1] === '**' || m[1] === '==') of[m[1]]++;
    else of['=>']++;
    counts.set(address, of);
  }
  return counts;
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

/**
 * Declares a test for each case, link and dialect.
 *
 * @param way `direct`: handed over while the sender waits; it is told 250 since somebody has it or it is in the spool. `held`: in
 *   the transaction in which the store was asked about the recipients
 */
export function testFaultyDeliveries(way: 'spooled' | 'direct' | 'held'): void {
  const runs: Run[] = [];
  const isDirect = way !== 'spooled';
  // What happens to RCPT in a held transaction the sender hears at once.
  for (const c of way === 'held' ? contentCases : [...contentCases, ...envelopeCases])
    for (const link of c.links ?? links)
      for (const dialect of c.dialects ?? dialectNames)
        runs.push({ ...c, link, dialect, domain: `d${runs.length}.test`, filler: c.large ? 1_600_000 : 0 });
  if (isDirect)
    for (const [i, c] of contentCases.entries()) {
      const dialect = i % 2 === 0 ? 'DATA, pipelined' : 'DATA, one by one';
      const run = { ...c, name: `${c.name}, streamed`, link: taking(i, 0).links[0], dialect } as const;
      if (c.large !== true && c.dialects?.includes(dialect) !== false)
        runs.push({ ...run, domain: `d${runs.length}.test`, filler: streamedOctets });
    }
  const folder = temporaryFolder(`faulty-${way}`);
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
      stores.set(run.domain, await startScriptedServer(well, run.link));
    }
    port = await freePort();
    const parts = runs.map((r, i) =>
      transportAndRouters(storeOf(r.domain), r.domain, `d${i}`, r.slow === true ? '2s' : '30s'),
    );
    edge = await startMailchute(
      folder.path,
      `acl_smtp_rcpt = acl_check_rcpt
smtp_accept_max = 200
daemon_smtp_ports = ${port}
${isDirect ? 'direct_delivery_hosts = *' : ''}`,
      `begin acl
acl_check_rcpt:
  accept ${isDirect ? `verify = recipient/callout=30s${way === 'held' ? ',no_cache' : ''}` : ''}

begin transports
back:
  driver = lmtp
  socket = ${bounces.endpoint.kind === 'unix' ? bounces.endpoint.path : ''}
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

  /** The log's lines about one message; the log is read once for all who ask at about the same time. */
  let logRead: { readonly atMs: number; readonly byId: ReadonlyMap<string, readonly string[]> } = {
    atMs: 0,
    byId: new Map(),
  };
  const linesAbout = (id: string): readonly string[] => {
    if (Date.now() - logRead.atMs > 100) {
      const lines = edge.mainLog().split('\n');
      logRead = { atMs: Date.now(), byId: Map.groupBy(lines, (line) => line.split(' ')[2] ?? '') };
    }
    return logRead.byId.get(id) ?? [];
  };

  /** The final recipients of each bounce that came to an address. */
  const reportsTo = (sender: string): string[][] =>
    bounces.contents
      .map((content) => content.toString('latin1'))
      .filter((text) => text.includes(`\r\nTo: ${sender}\r\n`))
      .map((text) => [...text.matchAll(/^Final-Recipient: rfc822; ?(\S+)/gim)].map((m) => m[1] ?? ''));

  /** The store is asked about the recipients while it behaves, so that it need not be asked again before the content. */
  async function askAhead(recipients: readonly string[]): Promise<void> {
    const talk = await smtpTalk(port);
    try {
      await talk.send('MAIL FROM:<ahead@back.test>\r\n');
      for (const to of recipients) assert.match(await talk.send(`RCPT TO:<${to}>\r\n`), /^250/);
    } finally {
      talk.close();
    }
  }

  describe(`deliveries, ${way}`, { concurrency: 64 }, () => {
    for (const run of runs)
      test(`${run.name} (${run.dialect}, ${run.link})`, async () => {
        const recipients = recipientsOf(run.domain);
        assert.equal(run.fates.length, recipientCount);
        assert.equal(recipients.length, recipientCount);
        const store = storeOf(run.domain);
        if (way === 'direct') await askAhead(recipients.map((r) => r.address));
        const well = { helo: () => dialects[run.dialect] };
        await store.restart({ ...well, ...run.script, again: well });
        const mark = `mark of ${run.domain}`;
        const filler = `${'x'.repeat(78)}\r\n`.repeat(run.filler / 80);
        const sent = await submit(port, {
          from: `from-${run.domain}@back.test`,
          to: recipients.map((r) => r.address),
          content: `Subject: faulty\r\n\r\n${filler}${mark}\r\n`,
        });
        assert.notEqual(sent.id, '', `${sent.to}: ${sent.reply}`);
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
        if (isDirect && run.fates.includes('done'))
          assert.ok(
            linesAbout(sent.id).some((line) => line.includes(' >> ')),
            `somebody had it while the sender waited; ${tail()}`,
          );

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
        // The queue's are others than those of held transactions.
        const keeps = way === 'held' ? false : run.keeps;
        if (keeps !== 'perhaps')
          assert.equal(store.connections, left.length === 0 || keeps === true ? 1 : 2, tail());
      });
  });
}
