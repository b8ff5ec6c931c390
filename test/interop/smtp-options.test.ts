// Options of the smtp transport that say which hosts are tried, from where and how: the same mail through the real Exim and
// through ours, to the same servers.
import assert from 'node:assert/strict';
import path from 'node:path';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { extensions, startScriptedServer, type Script } from '../support/scripted-server.ts';
import { submit } from '../support/smtp-talk.ts';

const folder = temporaryFolder('smtp-options');
chmodSync(folder.path, 0o755);

interface Case {
  /** Servers that answer; their ports stand for A and B in the texts, a port where nobody listens for DOWN. */
  readonly servers: Readonly<Record<'A' | 'B', Script>>;
  readonly router: string;
  readonly transport: string;
  readonly to: readonly string[];
  readonly selector?: string;
  /** Lines of the log that end it. */
  readonly ends: RegExp;
  /** Whom Exim talks to before it finds the fault, and we do not. */
  readonly asksNobody?: true;
}

interface Outcome {
  readonly log: readonly string[];
  /** What each server was told. */
  readonly told: Readonly<Record<string, readonly string[]>>;
  /** Bodies that came to A. */
  readonly contents: readonly string[];
}

const takes: Script = { protocol: 'smtp', content: () => '250 2.0.0 stored\r\n' };
const defers: Script = { protocol: 'smtp', rcpt: () => '450 4.2.0 later\r\n' };
const refuses: Script = { protocol: 'smtp', rcpt: () => '550 5.1.1 no\r\n' };

async function runCase(name: string, which: 'exim' | 'ours', c: Case): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const a = stack.use(await startScriptedServer(c.servers.A, 'tcp'));
  const b = stack.use(await startScriptedServer(c.servers.B, 'tcp'));
  const ports: Record<string, number> = { DOWN: await freePort() };
  for (const [letter, { endpoint }] of [
    ['A', a],
    ['B', b],
  ] as const)
    if (endpoint.kind === 'tcp') ports[letter] = endpoint.port;
  const withPorts = (text: string): string =>
    text.replace(/\b(?:A|B|DOWN)\b/g, (word) => String(ports[word] ?? word));
  const here = path.join(folder.path, name.replaceAll(/\W/g, '-'), which);
  mkdirSync(here, { recursive: true });
  const main = `log_selector = ${c.selector ?? ''} -queue_run\nacl_smtp_rcpt = accept\n`;
  const rest = withPorts(`begin routers
r:
  driver = manualroute
  self = send
  transport = t
  ${c.router}
begin transports
t:
  driver = smtp
  allow_localhost
  ${c.transport}
begin retry
* * F,1h,1h
`);
  let port: number;
  let mainLog: () => string;
  if (which === 'exim') {
    const daemon = await startExim(here, main, rest, ['-bd']);
    stack.defer(() => daemon.stop());
    port = daemon.port;
    mainLog = () => daemon.mainLog();
  } else {
    port = await freePort();
    const daemon = await startMailchute(
      here,
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${main}`,
      rest,
      ['-q1h'],
    );
    stack.defer(() => daemon.stop());
    mainLog = () => daemon.mainLog();
  }
  const sent = await submit(port, { from: 's@a.test', to: c.to, content: 'Subject: x\r\n\r\nhello\r\n' });
  assert.match(sent.reply, /^250 /);
  await until(
    () => c.ends.test(mainLog()) || undefined,
    () => `${c.ends} in ${mainLog()}`,
  );
  const byPort = new Map(Object.entries(ports).map(([letter, n]) => [String(n), letter]));
  const log = mainLog()
    .split('\n')
    .flatMap((line) => /^\S+ \S+ [\w]{6}-[\w]{6}-\w\w ((?:==|=>|->|\*\*) .*)$/.exec(line)?.[1] ?? [])
    .map((line) =>
      line
        // Exim names a host that it cannot connect to on a line of its own.
        .replace(/(?<=defer \((?:111|-24)\)) H=\S+ \[\S+(?=:)/, '')
        .replace(/(?<=\]):(\d+)/g, (_, n: string) => `:${byPort.get(n) ?? 'PORT'}`)
        .replace(/\]\*(?= C=)/, ']'),
    );
  const contents = a.contents.map((c) => c.toString('latin1').slice(c.indexOf('\r\n\r\n')));
  return { log, told: { A: a.commands, B: b.commands }, contents };
}

const filterScript = path.join(folder.path, 'filter');
writeFileSync(
  filterScript,
  '#!/bin/sh\nsed -e s/hello/HELLO/\necho "$1 $2 $3 and $(($# - 3))" >&2\nprintf "as $(id -un), .end"\n',
  { mode: 0o755 },
);

const cases: Readonly<Record<string, Case>> = {
  'fallback_hosts of the transport': {
    servers: { A: defers, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'fallback_hosts = 127.0.0.1::DOWN : 127.0.0.1::B',
    to: ['u@x.test', 'v@x.test'],
    ends: /Completed/,
  },
  'fallback_hosts of the router go first': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::DOWN\n  fallback_hosts = <; [127.0.0.1]:B',
    transport: 'fallback_hosts = 127.0.0.1::A',
    to: ['u@x.test'],
    ends: /Completed/,
  },
  'fallback_hosts are not for what is refused': {
    servers: { A: refuses, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'fallback_hosts = 127.0.0.1::B',
    to: ['u@x.test'],
    ends: /\*\* [^]* Completed/,
  },
  'fallback_hosts that defer too': {
    servers: { A: defers, B: defers },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'fallback_hosts = 127.0.0.1::B',
    to: ['u@x.test'],
    ends: / == /,
  },
  interface: {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'interface = <; ::1 ; ${if eq{$host_address}{127.0.0.1}{127.0.0.7}{127.0.0.8}} ; 127.0.0.9',
    selector: '+outgoing_interface +incoming_interface +outgoing_port',
    to: ['u@x.test'],
    ends: /Completed/,
  },
  'interface that is no address': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'interface = eth0',
    to: ['u@x.test'],
    ends: / == /,
  },
  'interface that is forced to fail': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'interface = ${if eq{1}{2}{127.0.0.7}fail}',
    selector: '+outgoing_interface +incoming_interface',
    to: ['u@x.test'],
    ends: /Completed/,
  },
  'outgoing_interface alone': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'interface = 127.0.0.7',
    selector: '+outgoing_interface +outgoing_port -incoming_interface',
    to: ['u@x.test'],
    ends: /Completed/,
  },
  'log items of a refusal and of a connection that fails': {
    servers: { A: refuses, B: takes },
    router: 'route_list = x.test 127.0.0.1::A ; * 127.0.0.1::DOWN',
    transport: 'interface = 127.0.0.7',
    selector: '+outgoing_interface +incoming_interface +outgoing_port +pipelining',
    to: ['u@x.test', 'v@y.test'],
    ends: /(?: == [^]*\*\* | \*\* [^]* == )/,
  },
  'pipelining in the log': {
    servers: { A: takes, B: { ...takes, helo: () => extensions.none } },
    router: 'route_list = x.test 127.0.0.1::A ; * 127.0.0.1::B',
    transport: '',
    selector: '+pipelining',
    to: ['u@x.test', 'v@y.test'],
    ends: /Completed/,
  },
  hosts_avoid_esmtp: {
    servers: { A: takes, B: takes },
    router: 'route_list = x.test 127.0.0.1::A ; * 127.0.0.2::B',
    transport: 'hosts_avoid_esmtp = 127.0.0.1\n  hosts_avoid_pipelining = !127.0.0.1',
    selector: '+pipelining',
    to: ['u@x.test'],
    ends: /Completed/,
  },
  hosts_avoid_pipelining: {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'hosts_avoid_pipelining = ${if eq{$host}{127.0.0.1}{*}}',
    selector: '+pipelining',
    to: ['u@x.test', 'v@y.test'],
    ends: /Completed/,
  },
  hosts_max_try_hardlimit: {
    servers: { A: defers, B: takes },
    router: 'route_list = * 127.0.0.1::A:127.0.0.1::B',
    transport: 'hosts_max_try_hardlimit = 1',
    to: ['u@x.test'],
    ends: / == /,
  },
  hosts_max_try: {
    servers: { A: defers, B: takes },
    router: 'route_list = * 127.0.0.1::DOWN:127.0.0.1::A:127.0.0.1::B',
    transport: 'hosts_max_try = 2',
    to: ['u@x.test'],
    ends: / == /,
  },
  transport_filter: {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: `transport_filter = ${filterScript} $host $host_address \${uc:$primary_hostname} $pipe_addresses
  user = mail`,
    to: ['u@x.test', 'v@x.test'],
    ends: /Completed/,
  },
  'transport_filter that fails': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'transport_filter = /bin/false\n  user = mail',
    to: ['u@x.test'],
    asksNobody: true,
    ends: / == /,
  },
  'transport_filter that is not there': {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.1::A',
    transport: 'transport_filter = /no/such/filter\n  user = mail',
    to: ['u@x.test'],
    asksNobody: true,
    ends: / == /,
  },
  'disable_logging of the transport': {
    servers: { A: takes, B: refuses },
    router: 'route_list = x.test 127.0.0.1::A ; * 127.0.0.1::B',
    transport: 'disable_logging',
    to: ['u@x.test', 'v@y.test'],
    ends: /Completed/,
  },
  'disable_logging of a router that fails': {
    servers: { A: takes, B: refuses },
    router:
      'route_list = x.test 127.0.0.1::A\n  disable_logging\nlast:\n  driver = redirect\n  data = :fail: no\n  disable_logging',
    transport: '',
    to: ['u@x.test', 'v@y.test'],
    // Exim does not log the end of the message either.
    ends: / => /,
  },
  'disable_logging of the router': {
    servers: { A: takes, B: refuses },
    router: 'disable_logging\n  route_list = x.test 127.0.0.1::A ; * 127.0.0.1::B',
    transport: '',
    to: ['u@x.test', 'v@y.test'],
    ends: /Completed/,
  },
};

test('fallback_hosts are not overridden', { skip: needs('exim4') }, async () => {
  // So the manual says of hosts_override; Exim 4.96 tries the overriding hosts a second time instead.
  const { log, told } = await runCase('override', 'ours', {
    servers: { A: takes, B: takes },
    router: 'route_list = * 127.0.0.9::A\n  fallback_hosts = 127.0.0.1::B',
    transport: 'hosts = 127.0.0.1::DOWN\n  hosts_override',
    to: ['u@x.test'],
    ends: /Completed/,
  });
  assert.equal(log.length, 1);
  assert.deepEqual([told['A']?.length, told['B']?.includes('RCPT TO:<u@x.test>')], [0, true]);
});

suite('options of the smtp transport', { skip: needs('exim4'), concurrency: 3 }, () => {
  after(() => folder.remove());
  for (const [name, c] of Object.entries(cases))
    test(name, async () => {
      const theirs = await runCase(name, 'exim', c);
      const mine = await runCase(name, 'ours', c);
      const told = c.asksNobody === true ? { A: [], B: [] } : theirs.told;
      assert.deepEqual(comparable(mine), comparable({ ...theirs, told }));
    });
});

/** Lines in any order, `->` as `=>`, those of a bounce left out since they may come or not while we look; and of what was told to servers what options decide: greeting, and whether mail came. */
function comparable({ log, told, contents }: Outcome): unknown {
  return {
    // A bounce has a text of its own.
    contents: contents.filter((c) => !c.includes('failed')),
    log: log
      .filter((l) => !/^(?:\*\*|==) s@a\.test /.test(l))
      .map((l) => l.replace(/^->/, '=>'))
      .sort(),
    told: Object.fromEntries(
      Object.entries(told).map(([name, commands]) => [
        name,
        [...new Set(commands.map((c) => c.replace(/ SIZE=\d+| BODY=\S+/g, '')))]
          // Of the message; a bounce may come or not while we look.
          .filter((c) => !/^(?:QUIT|RSET)|<>|<s@a/.test(c) || c.includes('FROM:<s@'))
          .sort(),
      ]),
    ),
  };
}
