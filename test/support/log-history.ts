// A little mail history, to be run through any edge: its configuration, its letters, and how the log of each is cut out.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type { StoreAddress } from './configurations.ts';
import { runToEnd, until } from './process.ts';
import { swaks } from './swaks.ts';

export interface LoggedEdge {
  readonly port: number;
  mainLog(): string;
}

/** What the links that come late lead to while a step runs. */
export interface World {
  /** For the files of letters. */
  readonly folder: string;
  readonly mail: string;
  readonly store: StoreAddress;
  readonly latePort: number;
  readonly lateSocket: string;
}

export interface Step {
  readonly name: string;
  send(edge: LoggedEdge, world: World): Promise<unknown>;
  /** How many messages must be completed by the step, bounces included. */
  readonly completed: number;
  /** How many messages stay, frozen. */
  readonly frozen?: number;
  /** Exim delivers by local transports first, one after the other; ours run side by side, and any may be the first. */
  readonly anyOrder?: true;
  /** The letter must be deferred first, and is delivered after `mend`. */
  readonly trouble?: Trouble;
}

interface Trouble {
  readonly to: string;
  spoil?(w: World): void;
  /** Gives a function that puts everything back as it was. */
  mend(w: World): () => Promise<void> | void;
}

export const historyMain = `domainlist checked = example.test
domainlist open = open.test : unix.test : late.test : lateunix.test
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_data = acl_check_data`;

/** Domains with the same users: asked beforehand or not, over TCP and UNIX, and through links that come late. */
export function historyRest(w: World): string {
  return `begin acl
acl_check_rcpt:
  deny message = invalid recipient
       domains = +checked
       !verify = recipient/callout=no_cache
  accept domains = +checked : +open
  deny message = relay not permitted
acl_check_data:
  deny message = forbidden subject
       condition = \${if match{$h_subject:}{forbidden}}
  accept
begin routers
tcp:
  driver = manualroute
  domains = example.test : open.test
  transport = lmtp_tcp
  route_list = "* 127.0.0.1 byname"
  self = send
unix:
  driver = manualroute
  domains = unix.test
  transport = lmtp_unix
  route_data = x
late:
  driver = manualroute
  domains = late.test
  transport = late_tcp
  route_list = "* 127.0.0.1 byname"
  self = send
lateunix:
  driver = manualroute
  domains = lateunix.test
  transport = late_unix
  route_data = x
begin transports
lmtp_tcp:
  driver = smtp
  protocol = lmtp
  port = ${w.store.port}
lmtp_unix:
  driver = lmtp
  socket = ${w.store.socket}
  batch_max = 200
late_tcp:
  driver = smtp
  protocol = lmtp
  port = ${w.latePort}
late_unix:
  driver = lmtp
  socket = ${w.lateSocket}
begin retry
*  *  F,2h,1s
`;
}

interface Letter {
  readonly from?: string;
  readonly to: readonly string[];
  readonly subject?: string;
  readonly body?: string;
}

function content({ subject = 'a subject', body = 'hello' }: Letter): string {
  return `From: Sender <sender@example.test>\nTo: someone@example.test\nSubject: ${subject}\nMessage-ID: <history@client.test>\nDate: Tue, 24 Nov 2026 08:00:00 +0000\n\n${body}`;
}

const letter =
  (l: Letter): Step['send'] =>
  (edge, w) =>
    swaks(w.folder, edge.port, { ...l, content: content(l) });

/** By HELO instead of EHLO. */
const helo =
  (name: string): Step['send'] =>
  (edge, w) => {
    const file = path.join(w.folder, `helo-${edge.port}`);
    writeFileSync(file, content({ to: [] }), 'latin1');
    const words = ['-s', '127.0.0.1', '-p', `${edge.port}`, '--protocol', 'SMTP', '--ehlo', name];
    return runToEnd('/usr/bin/swaks', [
      ...words,
      '-f',
      'a@x.test',
      '-t',
      'alice@open.test',
      '--data',
      `@${file}`,
    ]);
  };

const late = (name: string, trouble: Trouble): Step => ({
  name,
  completed: 1,
  send: letter({ to: [trouble.to] }),
  trouble,
});

export const history: readonly Step[] = [
  { name: 'a known recipient', completed: 1, send: letter({ to: ['alice@example.test'] }) },
  {
    name: 'several recipients in a transaction over TCP',
    completed: 1,
    send: letter({ to: ['alice@example.test', 'bob@example.test', 'carol+detail@example.test'] }),
  },
  {
    name: 'several recipients in a transaction over UNIX',
    completed: 1,
    send: letter({ to: ['alice@unix.test', 'bob@unix.test', 'CAROL@unix.test'] }),
  },
  {
    name: 'several recipients over two transports',
    completed: 1,
    anyOrder: true,
    send: letter({ to: ['alice@open.test', 'bob@unix.test'] }),
  },
  { name: 'an unknown recipient', completed: 0, send: letter({ to: ['nobody@example.test'] }) },
  {
    name: 'an unknown recipient beside a known one',
    completed: 1,
    send: letter({ to: ['nobody@example.test', 'bob@example.test'] }),
  },
  { name: 'a relay attempt', completed: 0, send: letter({ to: ['x@elsewhere.test'] }) },
  {
    name: 'a refusal after DATA',
    completed: 0,
    send: letter({ to: ['alice@example.test'], subject: 'forbidden' }),
  },
  {
    name: 'a bounce from TCP',
    completed: 2,
    send: letter({ from: 'alice@example.test', to: ['nobody@open.test', 'bob@open.test'] }),
  },
  {
    name: 'a bounce from UNIX',
    completed: 2,
    send: letter({ from: 'alice@example.test', to: ['nobody@unix.test', 'bob@unix.test'] }),
  },
  {
    name: 'a bounce that fails too',
    completed: 1,
    frozen: 1,
    send: letter({ from: 'nobody@open.test', to: ['nothere@open.test'] }),
  },
  { name: 'the null sender', completed: 1, send: letter({ from: '<>', to: ['bob@example.test'] }) },
  {
    name: 'a quoted sender',
    completed: 1,
    send: letter({ from: '"a b"@example.test', to: ['bob@example.test'] }),
  },
  {
    name: '8-bit octets, dots and an upper-case local part',
    completed: 1,
    send: letter({
      to: ['Alice@example.test'],
      body: `.\n..\n\xe4\xf6\xfc \xff\nlong ${'x'.repeat(900)}\n\n.`,
    }),
  },
  { name: 'HELO', completed: 1, send: helo('client.test') },
  { name: 'HELO with an address literal', completed: 1, send: helo('[127.0.0.1]') },
  late('a recipient that the store defers', {
    to: 'dave@open.test',
    spoil: (w) => writeFileSync(path.join(w.mail, 'dave'), 'no Maildir'),
    mend(w) {
      rmSync(path.join(w.mail, 'dave'));
      return () => undefined;
    },
  }),
  late('a TCP port on which nobody listens yet', {
    to: 'alice@late.test',
    mend: (w) => forward(w.latePort, w.store.port),
  }),
  late('a UNIX socket that is not there yet', {
    to: 'alice@lateunix.test',
    mend(w) {
      symlinkSync(w.store.socket, w.lateSocket);
      return () => rmSync(w.lateSocket);
    },
  }),
];

/** Passes connections on to another port of loopback until the function it gives is called. */
function forward(port: number, to: number): () => Promise<void> {
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    const other = net.connect(to, '127.0.0.1');
    for (const [a, b] of [
      [socket, other],
      [other, socket],
    ] as const) {
      open.add(a);
      a.on('error', () => b.destroy());
      a.pipe(b);
    }
  });
  server.listen(port, '127.0.0.1');
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of open) socket.destroy();
    });
}

/** Runs a step through every edge at the same time and gives the log lines that it caused in each. */
export async function linesOf(step: Step, edges: readonly LoggedEdge[], world: World): Promise<string[][]> {
  mkdirSync(world.folder, { recursive: true });
  const { trouble, completed, frozen = 0 } = step;
  const logs = edges.map((edge) => {
    const before = edge.mainLog().length;
    return () => edge.mainLog().slice(before);
  });
  const all = (what: string, enough: (text: string) => boolean): Promise<boolean> =>
    until(
      () => logs.every((text) => enough(text())),
      () => `${step.name}: ${what}; the logs:\n${logs.map((text) => text()).join('\n')}`,
    );
  trouble?.spoil?.(world);
  await Promise.all(edges.map((edge) => step.send(edge, world)));
  if (trouble !== undefined) await all('is deferred', (text) => text.includes(` == ${trouble.to}`));
  const undo = trouble?.mend(world);
  await all(
    'is over',
    (text) => count(text, / Completed$/gm) >= completed && count(text, / Frozen/g) >= frozen,
  );
  await undo?.();
  return logs.map((text) =>
    text()
      .split('\n')
      .filter((l) => l !== ''),
  );
}

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
