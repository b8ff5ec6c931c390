// The real Exim and ours with one configuration, in front of one set of scripted servers: the same dialogues with both.
import { chmodSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { startExim, type Exim } from './exim.ts';
import { type Mailchute, startMailchute } from './mailchute.ts';
import { freePort } from './process.ts';
import { replyReader } from './reply-reader.ts';
import { type Script, type ScriptedServer, startScriptedServer } from './scripted-server.ts';

/** What one edge did in one dialogue. */
export interface Observed {
  /** `command => reply`, from the first MAIL on; lines of a reply are parted by ` | `. */
  readonly replies: readonly string[];
  /** Main log lines without their times. */
  readonly log: readonly string[];
  /** What the servers were asked, in order: `RCPT TO:<...> from <...>`. */
  readonly asked: readonly string[];
}

export interface VerificationWorld extends AsyncDisposable {
  /** Starts with EHLO `helo`; commands end with CRLF, which is added. */
  talk(edge: 'exim' | 'ours', helo: string, commands: readonly string[]): Promise<Observed>;
}

/** The words of a RCPT command by the local part it names, or undefined for `250 ok`. */
const answers: readonly (readonly [
  local: RegExp,
  Exclude<ReturnType<NonNullable<Script['rcpt']>>, undefined>,
])[] = [
  [/^bad2/, '550-5.1.1 no such user\r\n550 5.1.1 ask somebody else\r\n'],
  [/^bad/, '550 no such user\r\n'],
  [/^tmp/, '451 4.2.0 busy\r\n'],
  [/^bye/, { say: '', close: true }],
  [/^full/, '452 4.2.2 mailbox full\r\n'],
  [/^mute/, { say: '', deaf: true }],
  [/-testing@/, '550 nobody\r\n'],
];

const usual: Script = {
  protocol: 'smtp',
  rcpt: (to) => answers.find(([local]) => local.test(to))?.[1] ?? '250 ok\r\n',
};
const without = (name: RegExp, reply: string): Script => ({
  ...usual,
  rcpt: (to, index) => (name.test(to) ? reply : (usual.rcpt?.(to, index) ?? '')),
});

export type ServerName =
  | 'usual'
  | 'lmtp'
  | 'all'
  | 'tmprandom'
  | 'nopostmaster'
  | 'nobody'
  | 'tmppostmaster'
  | 'banner554'
  | 'banner421'
  | 'bannerbad'
  | 'helo550'
  | 'helo451'
  | 'mail550'
  | 'mail451'
  | 'nobounce';

/** By the part of a domain before `.test`. */
const scripts: Readonly<Record<ServerName, Script>> = {
  usual,
  lmtp: { ...usual, protocol: 'lmtp' },
  all: without(/-testing@/, '250 anybody\r\n'),
  tmprandom: without(/-testing@/, '451 later\r\n'),
  nopostmaster: without(/^postmaster@/, '550 no postmaster\r\n'),
  nobody: without(/^postmaster/, '550-no postmaster\r\n550 at all\r\n'),
  tmppostmaster: without(/^postmaster/, '451 postmaster is busy\r\n'),
  banner554: { ...usual, banner: '554 go away\r\n' },
  banner421: { ...usual, banner: '421 not now\r\n' },
  bannerbad: { ...usual, banner: 'hello\r\n' },
  helo550: { ...usual, helo: () => '550 not you\r\n' },
  helo451: { ...usual, helo: () => '451 not you now\r\n' },
  mail550: { ...usual, mail: () => '550 no mail\r\n' },
  mail451: { ...usual, mail: () => '451 no mail now\r\n' },
  nobounce: { ...usual, mail: (from) => (from === '' ? '550-no bounces\r\n550 here\r\n' : '250 ok\r\n') },
};

/**
 * @param acls the section's text; RCPT is decided by the ACL `rcpt_` and the name in EHLO, DATA by `data_` and that name
 * @param main more main options
 */
export async function startVerificationWorld(
  folder: string,
  acls: string,
  main = '',
): Promise<VerificationWorld> {
  // Each has its own, so that both can be asked at the same time.
  const servers = { exim: await startServers(), ours: await startServers() };
  // Exim takes no name for an ACL that a client has chosen, but one from a file.
  const names = path.join(folder, 'names');
  writeFileSync(names, [...acls.matchAll(/^rcpt_(\w+):/gm)].map(([, name]) => `${name}: ${name}\n`).join(''));
  const options = `acl_smtp_rcpt = rcpt_\${lookup{$sender_helo_name}lsearch{${names}}}
acl_smtp_data = data_\${lookup{$sender_helo_name}lsearch{${names}}}
${main}`;
  // Exim gives up root and must still get in.
  chmodSync(folder, 0o755);
  const exim: Exim = await startExim(
    path.join(folder, 'exim'),
    options,
    sections(acls, portsOf(servers.exim)),
    ['-bd'],
  );
  const port = await freePort();
  const ours: Mailchute = await startMailchute(
    path.join(folder, 'ours'),
    `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\nhost_lookup =\n${options}`,
    sections(acls, portsOf(servers.ours)),
  );
  const edges = {
    exim: { port: exim.port, log: () => exim.mainLog() },
    ours: { port, log: () => ours.mainLog() },
  };
  return {
    async talk(edge, helo, commands) {
      const { port: at, log } = edges[edge];
      const mine = servers[edge];
      const seen = new Map([...mine].map(([name, s]) => [name, s.commands.length]));
      const from = log().length;
      const replies = await dialogue(at, helo, commands);
      for (const server of mine.values()) await server.hangUp();
      const asked = [...mine].flatMap(([name, s]) => questions(s.commands.slice(seen.get(name))));
      return { replies: replies.map(neutral), log: linesOf(log().slice(from)), asked: asked.map(neutral) };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([ours.stop(), exim.stop()]);
      for (const all of Object.values(servers))
        for (const server of all.values()) await server[Symbol.asyncDispose]();
    },
  };
}

async function startServers(): Promise<ReadonlyMap<string, ScriptedServer>> {
  const servers = new Map<string, ScriptedServer>();
  for (const [name, script] of Object.entries(scripts))
    servers.set(name, await startScriptedServer(script, 'tcp'));
  return servers;
}

function portsOf(servers: ReadonlyMap<string, ScriptedServer>): ReadonlyMap<string, number> {
  return new Map([...servers].map(([name, { endpoint: e }]) => [name, e.kind === 'tcp' ? e.port : 0]));
}

function sections(acls: string, ports: ReadonlyMap<string, number>): string {
  return `begin acl
${acls}
begin routers
fails:
  driver = redirect
  local_parts = fail
  allow_fail
  data = :fail: gone away
defers:
  driver = redirect
  local_parts = defer
  allow_defer
  data = :defer: come back
single:
  driver = redirect
  local_parts = one
  data = ok-one@$domain
singlebad:
  driver = redirect
  local_parts = onebad
  data = bad-one@$domain
singlefail:
  driver = redirect
  local_parts = onefail
  data = fail@$domain
multi:
  driver = redirect
  local_parts = many
  data = bad-a@$domain, bad-b@$domain
down:
  driver = manualroute
  domains = *.down.test
  route_list = * 127.0.0.3
  self = send
  transport = t_usual
two:
  driver = accept
  domains = *.two.test
  transport = t_two
${[...ports.keys()]
  .map(
    (name) => `r_${name}:
  driver = manualroute
  domains = *.${name}.test
  local_parts = ! unroutable
  address_data = data of $local_part
  route_list = * 127.0.0.1
  self = send
  transport = t_${name}
`,
  )
  .join('')}
begin transports
t_two:
  driver = smtp
  hosts = 255.255.255.255 : 127.0.0.1
  allow_localhost
  port = ${ports.get('usual')}
${[...ports]
  .map(
    ([name, port]) =>
      `t_${name}:\n  driver = smtp\n  port = ${port}\n${name === 'lmtp' ? '  protocol = lmtp\n' : ''}`,
  )
  .join('')}`;
}

/** Numbers that change from run to run. */
function neutral(line: string): string {
  return line.replace(/-\d+-testing/g, '-TIME-testing').replace(/\b\w{6}-\w{6}-\w\w\b/g, 'MESSAGE');
}

function linesOf(log: string): string[] {
  return log
    .split('\n')
    .map((line) => neutral(line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /, '')))
    .filter((line) => line !== '');
}

/** Who opened a connection and how is each edge's own affair. */
function questions(commands: readonly string[]): string[] {
  let from = '';
  return commands.flatMap((line) => {
    from = /^MAIL FROM:(<[^>]*>)/.exec(line)?.[1] ?? from;
    return line.startsWith('RCPT ') ? [`${line} from ${from}`] : [];
  });
}

async function dialogue(port: number, helo: string, commands: readonly string[]): Promise<string[]> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const replies = replyReader(socket);
  const seen: string[] = [];
  try {
    await replies.next();
    for (const command of [`EHLO ${helo}`, ...commands, 'QUIT']) {
      socket.write(`${command}\r\n`, 'latin1');
      const said = (await replies.next())?.replaceAll('\n', ' | ') ?? 'closed';
      if (!/^(?:EHLO|MAIL|DATA|QUIT)/.test(command)) seen.push(`${command.split('\r\n')[0]} => ${said}`);
    }
    await replies.ended();
  } finally {
    socket.destroy();
  }
  return seen;
}
