// hold_domains, queue_domains, queue_smtp_domains, queue_only_file, errors_copy and message_linelength_limit: the same mail to
// the real Exim and to ours; what is logged and what arrives must be the same.
import assert from 'node:assert/strict';
import path from 'node:path';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { root, startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, runToEnd, temporaryFolder, until } from '../support/process.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { submit } from '../support/smtp-talk.ts';

const folder = temporaryFolder('queue-control');
chmodSync(folder.path, 0o755);

const rest = (port: number, transport: string): string => `begin routers
list:
  driver = redirect
  local_parts = list
  data = x@held.test, y@ok.test, z@queued.test
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = t
begin transports
t:
  driver = smtp
  port = ${port}
  allow_localhost
  ${transport}
begin retry
* * F,1h,1h
`;

interface Program {
  readonly port: number;
  mainLog(): string;
  /** `exim -q`. */
  queueRun(): Promise<void>;
}

interface Case {
  readonly main: string;
  readonly transport?: string;
  /** @param here a folder, in place of FOLDER in the options */
  readonly act: (program: Program, seen: Seen, here: string) => Promise<void>;
}

interface Seen {
  /** Sends one letter and waits until its log has so many lines beside the first. */
  letter(to: readonly string[], lines: number, content?: string, from?: string): Promise<void>;
  /** Waits until there are so many lines of deliveries. */
  lines(count: number): Promise<void>;
}

/** `=>`, `->`, `==`, `**`, `<=` and Completed, without ids and times, sorted within what happens together. */
function events(log: string): string[] {
  return log.split('\n').flatMap((line) => {
    const m = /^\S+ \S+ [\w]{6}-[\w]{6}-\w\w (.*)$/.exec(line);
    if (m?.[1] === undefined || /^Spool file|^Message is frozen|^<= [^<]/.test(m[1])) return [];
    return [
      m[1]
        .replace(/^->/, '=>')
        // Exim marks a connection that is used again.
        .replace(/\]\*(?= C=)/, ']')
        .replace(/^<= <> R=\S+ .*?( for .*)$/, '<= <>$1')
        .replace(/ U=Debian-exim/, '')
        // Our Received field is longer.
        .replace(/ S=\d+/, ''),
    ];
  });
}

async function runCase(
  name: string,
  which: 'exim' | 'ours',
  c: Case,
): Promise<readonly [string[], string[]]> {
  const sink = await startScriptedServer(
    {
      protocol: 'smtp',
      rcpt: (p) => (p.startsWith('bad') ? '550 no\r\n' : '250 ok\r\n'),
    },
    'tcp',
  );
  const port = sink.endpoint.kind === 'tcp' ? sink.endpoint.port : 0;
  const here = path.join(folder.path, name.replaceAll(/\W/g, '-'), which);
  mkdirSync(here, { recursive: true });
  const main = `log_selector = +received_recipients -queue_run
acl_smtp_rcpt = accept
${c.main.replaceAll('FOLDER', here)}`;
  await using stack = new AsyncDisposableStack();
  stack.use(sink);
  const program = await (which === 'exim' ? exim() : ours());
  stack.defer(() => program.stop());
  const mainLog = (): string => program.mainLog();
  const seen: Seen = {
    async lines(count) {
      await until(
        () => events(mainLog()).length >= count || undefined,
        () => `${count} lines of ${which}: ${mainLog()}`,
      );
    },
    async letter(to, lines, content = 'Subject: x\r\n\r\nhello\r\n', from = 's@a.test') {
      const before = events(mainLog()).length;
      const sent = await submit(program.port, { from, to, content });
      assert.match(sent.reply, /^250 /);
      await seen.lines(before + lines);
    },
  };
  await c.act(program, seen, here);
  return [events(mainLog()).sort(), sink.commands.filter((l) => l.startsWith('RCPT')).sort()];

  async function exim(): Promise<Program & { stop(): Promise<void> }> {
    const daemon = await startExim(here, main, rest(port, c.transport ?? ''), ['-bd']);
    return {
      ...daemon,
      mainLog: () => daemon.mainLog(),
      queueRun: async () => void (await daemon.run('-q')),
      stop: () => daemon.stop(),
    };
  }
  async function ours(): Promise<Program & { stop(): Promise<void> }> {
    const listening = await freePort();
    const daemon = await startMailchute(
      here,
      `daemon_smtp_ports = ${listening}\ntls_advertise_hosts =\nqueue_run_in_order\n${main}`,
      rest(port, c.transport ?? ''),
      ['-q1h'],
    );
    return {
      port: listening,
      mainLog: () => daemon.mainLog(),
      queueRun: async () => {
        const words = ['-C', daemon.configFile, '-q'];
        const { code, output } = await runToEnd(path.join(root, 'bin/exim'), words);
        assert.equal(code, 0, output);
      },
      stop: () => daemon.stop(),
    };
  }
}

const longLine = (octets: number): string => `Subject: x\r\n\r\n${'x'.repeat(octets)}\r\n`;

const cases: Readonly<Record<string, Case>> = {
  hold_domains: {
    main: 'hold_domains = held.test : ${if eq{1}{2}{ok.test}}',
    async act(program, seen) {
      await seen.letter(['u@held.test', 'u@ok.test'], 2);
      await seen.letter(['list@ok.test'], 3);
      await program.queueRun();
      await seen.lines(7);
    },
  },
  'hold_domains that cannot be looked up': {
    main: 'hold_domains = ${lookup{x}lsearch{/nowhere/at/all}}',
    async act(_, seen) {
      await seen.letter(['u@ok.test'], 2);
    },
  },
  queue_domains: {
    main: 'queue_domains = queued.test',
    async act(program, seen) {
      await seen.letter(['u@queued.test', 'u@ok.test'], 2);
      await seen.letter(['list@queued.test'], 1);
      await program.queueRun();
      await seen.lines(8);
    },
  },
  queue_smtp_domains: {
    main: 'queue_smtp_domains = qs.test',
    async act(program, seen) {
      await seen.letter(['u@qs.test', 'v@ok.test'], 2);
      await seen.letter(['w@ok.test'], 2);
      await program.queueRun();
      await seen.lines(7);
    },
  },
  queue_only_file: {
    main: 'queue_only_file = smtpFOLDER/smtp : FOLDER/all',
    async act(program, seen, here) {
      await seen.letter(['a@ok.test'], 2);
      writeFileSync(path.join(here, 'smtp'), '');
      await seen.letter(['b@ok.test'], 1);
      rmSync(path.join(here, 'smtp'));
      writeFileSync(path.join(here, 'all'), '');
      await seen.letter(['c@ok.test'], 0);
      rmSync(path.join(here, 'all'));
      await seen.letter(['d@ok.test'], 2);
      await program.queueRun();
      await seen.lines(9);
    },
  },
  errors_copy: {
    main: [
      'errors_copy = s@a.test  copy@a.test,two@a.test : \\',
      '"^(.*)@b\\\\\\\\.test\\\\\\$" ${1}-copy@a.test : *@c.test ${local_part}.${domain}@a.test,one-${1}@a.test,nought-${length_3::$0}@a.test : *er@e.test w-${1}@a.test : skipped@d.test',
    ].join('\n'),
    async act(_, seen) {
      await seen.letter(['bad@ok.test'], 7);
      await seen.letter(['bad@ok.test'], 6, undefined, 'who@b.test');
      await seen.letter(['bad@ok.test'], 8, undefined, 'who@c.test');
      await seen.letter(['bad@ok.test'], 6, undefined, 'sender@e.test');
      await seen.letter(['bad@ok.test'], 5, undefined, 'who@d.test');
    },
  },
  'message_linelength_limit by default': {
    main: '',
    async act(_, seen) {
      await seen.letter(['u@ok.test'], 2, longLine(998));
      await seen.letter(['u@ok.test'], 5, longLine(999));
      await seen.letter(['u@ok.test'], 3, `Subject: ${'y'.repeat(1000)}\r\n\r\nhello\r\n`, '');
      await seen.letter(['u@ok.test'], 3, longLine(999), '');
    },
  },
  'message_linelength_limit = 20': {
    main: '',
    transport: 'message_linelength_limit = 20',
    async act(_, seen) {
      await seen.letter(['u@ok.test'], 3, longLine(20), '');
    },
  },
};

suite('mail that waits, copies, long lines', { skip: needs('exim4'), concurrency: 2 }, () => {
  after(() => folder.remove());
  for (const [name, c] of Object.entries(cases))
    test(name, async () => {
      const theirs = await runCase(name, 'exim', c);
      const mine = await runCase(name, 'ours', c);
      assert.deepEqual(mine, theirs);
    });
});
