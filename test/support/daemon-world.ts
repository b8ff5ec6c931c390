// Configurations and daemons for tests of the command line, ours and the real Exim's.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { root } from './mailchute.ts';
import { findProgram } from './peers.ts';
import { start, type Running, until } from './process.ts';

export const programs: Readonly<Record<'exim' | 'mailchute' | 'peer', string>> = {
  exim: path.join(root, 'bin/exim'),
  mailchute: path.join(root, 'bin/mailchute'),
  /** The real Exim. */
  peer: findProgram('exim4') ?? 'exim4',
};

const usual = `begin acl
check_rcpt:
  accept domains = queued.test
         control = queue
  accept domains = open.test
  deny message = relay not permitted
begin routers
all:
  driver = manualroute
  transport = down
  route_list = "* 127.0.0.1 byname"
  self = send
begin transports
down:
  driver = smtp
  protocol = lmtp
  port = 9
begin retry
*  *  F,2h,1s
`;

export interface ConfigFolder {
  readonly folder: string;
  readonly file: string;
  readonly spool: string;
  readonly pidFile: string;
  mainLog(): string;
}

/** Writes `main` and what both programs need beside it, to keep everything in `folder`; the lines of `main` come first. */
export function writeConfig(folder: string, main: string, rest: string = usual): ConfigFolder {
  const spool = path.join(folder, 'spool');
  const pidFile = path.join(folder, 'daemon.pid');
  for (const dir of [folder, spool, path.join(folder, 'log')]) {
    mkdirSync(dir, { recursive: true });
    chmodSync(dir, 0o777);
  }
  const file = path.join(folder, 'conf');
  const given = (option: string, value: string): string =>
    new RegExp(`^${option} `, 'm').test(main) ? '' : `${option} = ${value}\n`;
  writeFileSync(
    file,
    `${main}
${given('spool_directory', spool)}${given('log_file_path', `${folder}/log/%slog`)}${given('pid_file_path', pidFile)}\
${given('local_interfaces', '127.0.0.1')}${given('acl_smtp_rcpt', 'check_rcpt')}\
primary_hostname = mx.example.test
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
${rest}`,
  );
  chmodSync(file, 0o644);
  const log = path.join(folder, 'log/mainlog');
  return {
    folder,
    file,
    spool,
    pidFile,
    mainLog: () => (existsSync(log) ? readFileSync(log, 'latin1') : ''),
  };
}

/** Starts ours in the foreground; resolves when it is ready. */
export async function serveForeground(file: string, words: readonly string[] = []): Promise<Running> {
  const running = start(programs.exim, ['-C', file, '-bdf', ...words]);
  await running.printed(/^ready$/m);
  return running;
}

/** The greeting at `host:port`; undefined where nobody listens. */
export function greeting(port: number, host = '127.0.0.1'): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host });
    socket.setTimeout(15_000, () => socket.destroy(new Error(`no greeting on ${host}:${port}`)));
    socket.once('data', (d) => {
      socket.end('QUIT\r\n');
      socket.on('data', () => undefined);
      resolve(d.toString('latin1'));
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNREFUSED' ? resolve(undefined) : reject(error),
    );
  });
}

/** A running process's parent and session, from /proc; undefined where it is gone or waits to be reaped. */
export function processFacts(pid: number): { readonly parent: number; readonly session: number } | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, 'latin1');
  const [state, parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' ? undefined : { parent: Number(parent), session: Number(session) };
}

export function gone(pid: number): Promise<boolean> {
  return until(() => processFacts(pid) === undefined, `process ${pid} ends`);
}
